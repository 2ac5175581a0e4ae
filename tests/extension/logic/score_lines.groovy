// What a run says, as a person sees it.
import hccmil.ScoreLines

def lines = new ScoreLines()
assert lines.fraction < 0 && lines.now == "Starting"
assert lines.take("a warning of some library") == [:]
assert lines.take("") == [:]
lines.take('{"event": "run", "images": 2}')
assert lines.fraction == 0
lines.take('{"event": "image", "image": "Schnitt \\u00e4", "number": 1, "images": 2, "of": 40}')
assert lines.now == "Image 1 of 2: Schnitt ä, fitting its stains"
lines.take('{"event": "tiles", "done": 8, "of": 40, "tiles_per_second": null}')
assert lines.now == "Image 1 of 2: Schnitt ä, tile 8 of 40"
lines.take('{"event": "tiles", "done": 20, "of": 40, "tiles_per_second": 12.6}')
assert lines.now == "Image 1 of 2: Schnitt ä, tile 20 of 40, 13 tiles/s"
assert lines.fraction == 0.25
lines.take('{"event": "tiles", "done": 20, "of": 40, "tiles_per_second": 0.42}')
assert lines.now.endsWith(", 0.4 tiles/s")
// numbers are the same in any language of the window
def before = Locale.getDefault()
Locale.setDefault(Locale.GERMANY)
def told = lines.take('{"event": "finished", "image": "a", "status": "scored", "reason": "", "risk": 0.12345, "group": "low", "tiles": 40, "notes": ["first", "second"]}')
assert ScoreLines.outcome(told) == "a: risk 0.1235 (low risk), 40 tiles\n    note: first\n    note: second"
assert lines.fraction == 0.5 && lines.now == "Preparing the next image"
told = lines.take('{"event": "finished", "image": "b", "status": "failed", "reason": "b: has no outline", "risk": null, "group": null, "tiles": 0, "notes": []}')
assert ScoreLines.outcome(told) == "b: not scored: has no outline"
told = lines.take('{"event": "finished", "image": "c", "status": "up to date", "reason": "", "notes": []}')
assert ScoreLines.outcome(told) == "c: up to date"
lines.take('{"event": "end", "summary": "1 scored, 1 failed."}')
assert lines.now == "Done" && lines.summary == "1 scored, 1 failed."
Locale.setDefault(before)
