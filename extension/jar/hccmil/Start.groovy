package hccmil

import org.slf4j.LoggerFactory

/** Runs once in QuPath's interface thread when the extension has been compiled. */
class Start implements Runnable {
    @Override
    void run() {
        LoggerFactory.getLogger("HCC-MIL").info("HCC-MIL is ready")
    }
}
