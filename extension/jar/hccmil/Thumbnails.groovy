package hccmil

import groovy.transform.CompileStatic
import java.awt.RenderingHints
import java.awt.Graphics2D
import java.awt.image.BufferedImage
import java.util.concurrent.ExecutorService
import java.util.concurrent.LinkedBlockingDeque
import java.util.concurrent.ThreadFactory
import java.util.concurrent.ThreadPoolExecutor
import java.util.concurrent.TimeUnit
import java.util.function.Consumer
import javafx.application.Platform
import javafx.embed.swing.SwingFXUtils
import javafx.scene.image.Image
import qupath.lib.images.servers.ImageServer
import qupath.lib.regions.RegionRequest

/** Thumbnails of tiles, read in the background, the latest request first; some are kept. */
@CompileStatic
class Thumbnails {
    static final int SIDE = 140
    private static final int KEPT = 600

    private final ImageServer<BufferedImage> server
    private final ExecutorService reader
    private final Map<Bounds, Image> kept = new LinkedHashMap<Bounds, Image>(16, 0.75f, true) {
        @Override
        protected boolean removeEldestEntry(Map.Entry<Bounds, Image> eldest) {
            size() > Thumbnails.KEPT
        }
    }

    Thumbnails(ImageServer<BufferedImage> server) {
        this.server = server
        reader = new ThreadPoolExecutor(1, 1, 0, TimeUnit.SECONDS,
            new LastFirst(), { Runnable run ->
                Thread thread = new Thread(run, 'HCC-MIL thumbnails')
                thread.daemon = true
                thread
            } as ThreadFactory)
    }

    /** Serves the latest request first: it is for what is on the screen. */
    @CompileStatic
    private static class LastFirst extends LinkedBlockingDeque<Runnable> {
        @Override
        boolean offer(Runnable run) {
            offerFirst(run)
        }
    }

    /** Passes the picture to a receiver in the window's thread, now or later; null if it cannot be read. */
    void ask(Bounds tile, Consumer<Image> receiver) {
        Image known = kept[tile]
        if (known != null) {
            receiver.accept(known)
            return
        }
        if (reader.shutdown) {
            return
        }
        reader.execute {
            Image read = read(tile)
            Platform.runLater {
                if (read != null) {
                    kept[tile] = read
                }
                receiver.accept(read)
            }
        }
    }

    void close() {
        reader.shutdownNow()
    }

    private Image read(Bounds tile) {
        try {
            double downsample = Math.max(1d, tile.width / SIDE)
            RegionRequest request = RegionRequest.createInstance(server.path, downsample,
                (int) Math.floor(tile.x), (int) Math.floor(tile.y),
                (int) Math.ceil(tile.width), (int) Math.ceil(tile.height))
            BufferedImage read = server.readRegion(request)
            BufferedImage small = new BufferedImage(SIDE, SIDE, BufferedImage.TYPE_INT_RGB)
            Graphics2D g = small.createGraphics()
            g.setRenderingHint(RenderingHints.KEY_INTERPOLATION,
                RenderingHints.VALUE_INTERPOLATION_BILINEAR)
            g.drawImage(read, 0, 0, SIDE, SIDE, null)
            g.dispose()
            return SwingFXUtils.toFXImage(small, null)
        } catch (IOException | RuntimeException error) {
            Say.LOG.warn('The picture of tile {} cannot be read: {}', tile, error.toString())
            return null
        }
    }
}
