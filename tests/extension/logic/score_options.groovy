// What a person chose, as a command line.
import hccmil.Problem
import hccmil.ScoreOptions

def command = new File("/a b/qupath-hccmil"), project = new File("/p ä/project.qpproj")
assert new ScoreOptions().line(command, project, null) == [
    "/a b/qupath-hccmil", "score", "/p ä/project.qpproj", "--engine", "native", "--progress", "json"]
def line = new ScoreOptions(classes: ["Stroma", "Tumor"], model: "/m", maxTiles: 9, resume: true)
    .line(command, project, ["1", "7"])
assert line.drop(7) == ["--image", "id:1", "--image", "id:7", "--annotation-class", "Stroma",
    "--annotation-class", "Tumor", "--model", "/m", "--max-tiles", "9", "--resume"]
assert line.every { it instanceof String }

// the command's own choice of classes is left to it
assert ScoreOptions.isTumour("tumor") && !ScoreOptions.isTumour("Tumor bed")
assert ScoreOptions.unusual(["Tumor"], ["Stroma", "Tumor"]) == null
assert ScoreOptions.unusual([], []) == null
assert ScoreOptions.unusual(["Tumor", "Stroma"], ["Stroma", "Tumor"]) == ["Stroma", "Tumor"]
assert ScoreOptions.unusual(["Stroma"], ["Stroma"]) == ["Stroma"]

assert ScoreOptions.tiles("") == null && ScoreOptions.tiles(null) == null
assert ScoreOptions.tiles(" 200 ") == 200
["0", "-3", "1.5", "many", "99999999999"].each { typed ->
    try {
        ScoreOptions.tiles(typed)
        assert false, typed
    } catch (Problem problem) {
        assert problem.message.contains(typed)
    }
}
