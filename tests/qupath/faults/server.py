"""Writes a project again and again while its calls fail or it is killed, and looks at the result.

Usage: LD_PRELOAD=project_faults.so python server.py TOP ENGINE, then a pickled (transition, faults)
at a time on standard input. Answers with a pickled list: of each fault, what is wrong after it.
"""

import json
import os
import pickle
import shutil
import subprocess
import sys
import traceback
from pathlib import Path
from typing import Any

from qupath_hccmil.errors import HccMilError
from qupath_hccmil.qupath.native.native_project import NativeProject
from qupath_hccmil.qupath.writing.project_lock import LOCK_NAME
from qupath_hccmil.qupath.writing.restore_backup import backups, restore
from tests.qupath.faults import shim
from tests.qupath.faults.shim import Fault
from tests.qupath.faults.transitions import (
    TRANSITIONS,
    Engine,
    leftovers,
    make_project,
    only_ours_differ,
    score,
    shown,
    tree,
)

DIED = -9


class Scene:
    """One transition: the project before it, and its files before and after it."""

    def __init__(self, top: Path, name: str, engine: Engine) -> None:
        self.transition = TRANSITIONS[name]
        self.engine = engine
        self.folder = top / "project"
        self.start = top / "start"
        shutil.rmtree(top, ignore_errors=True)
        top.mkdir(parents=True)
        # made where it is used: a project knows its place
        make_project(self.folder)
        self.transition.prepare(self.folder)
        self.folder.rename(self.start)
        self.before = self._states()
        self.set_up()
        self.transition.write(engine, self.folder)
        self.after = self._states()
        if known := backups(self.folder):
            restore(self.folder, known[0].run)
        self.oldest = tree(self.folder)
        self.sound: list[dict[str, bytes]] = []
        self.set_up()
        self.transition.write(engine, self.folder)
        if self._not_ours():
            raise AssertionError(self._not_ours())
        self.sound = [self.before[0], self.after[0], self._classes_only()]

    def set_up(self) -> None:
        shutil.rmtree(self.folder, ignore_errors=True)
        shutil.copytree(self.start, self.folder)

    def _states(self) -> tuple[dict[str, bytes], tuple[str, str]]:
        if not self.folder.exists():
            self.set_up()
        return tree(self.folder), shown(self.folder)

    def count(self, writes: bool) -> int:
        """How many calls the write makes."""
        self.set_up()
        shim.arm(self.folder, Fault(writes=writes))
        self.transition.write(self.engine, self.folder)
        return shim.disarm()

    def happens(self, fault: Fault) -> dict[str, Any]:
        """Let one fault happen to the write, and look."""
        self.set_up()
        outcome = (self._killed if fault.mode == shim.KILL else self._failed)(fault)
        if fault.keep:
            shutil.copytree(self.folder, fault.keep)
        found = shown(self.folder)
        return {
            "fault": str(fault),
            "outcome": outcome,
            "shown": found,
            "wrong": self._wrong(outcome, fault, *found),
        }

    def _killed(self, fault: Fault) -> str:
        child = os.fork()
        if child == 0:
            try:
                shim.arm(self.folder, fault)
                self.transition.write(self.engine, self.folder)
                os._exit(0)
            except BaseException:
                traceback.print_exc()
                os._exit(1)
        status = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
        return {DIED: "died", 0: "done"}.get(status, f"exit {status}")

    def _failed(self, fault: Fault) -> str:
        shim.arm(self.folder, fault)
        try:
            self.transition.write(self.engine, self.folder)
        except HccMilError as error:
            shim.disarm()
            return f"refused: {error}"
        except BaseException as error:
            shim.disarm()
            return (
                f"unexpected {type(error).__name__}: {''.join(traceback.format_exception(error))}"
            )
        shim.disarm()
        return "done"

    def _wrong(self, outcome: str, fault: Fault, in_image: str, in_list: str) -> list[str]:
        """What a user would complain about."""
        wrong = [] if outcome.startswith(("died", "done", "refused")) else [outcome]
        if "\n" in outcome:
            wrong.append("more than one line")
        wrong += self._wrong_at_once(outcome, fault, in_image, in_list)
        self._lock_is_of_the_dead()
        wrong += self._wrong_after_a_look()
        wrong += self._wrong_after_the_next_run()
        return wrong

    def _wrong_at_once(self, outcome: str, fault: Fault, in_image: str, in_list: str) -> list[str]:
        """What QuPath would find, opened right now."""
        old, new = self.before[1][0], self.after[1][0]
        wrong = []
        if in_image not in (old, new):
            wrong.append(f"the image shows {in_image}, neither {old} nor {new}")
        if in_list not in (in_image, "-"):
            wrong.append(f"the list says {in_list} of an image that shows {in_image}")
        if fault.mode in (shim.FAIL, shim.SHORT):
            expected = self.after if outcome == "done" else self.before
            if "completes or undoes it" not in outcome and tree(self.folder) != expected[0]:
                wrong.append(f"after {outcome!r}: {self._changed(expected[0])}")
        return wrong + self._not_ours()

    def _wrong_after_a_look(self) -> list[str]:
        """What is there after a command of ours that only reads."""
        with NativeProject(self.folder) as project:
            project.read(project.images[0])
        found = tree(self.folder)
        if found not in self.sound:
            return [f"mixed after a look: {self._changed(self.before[0])}"]
        return []

    def _wrong_after_the_next_run(self) -> list[str]:
        try:
            score(NativeProject, self.folder, 0.9)
        except Exception as error:
            return ["the next run fails: " + "".join(traceback.format_exception(error))]
        wrong = []
        if shown(self.folder) != ("0.9", "0.9"):
            wrong.append(f"the next run shows {shown(self.folder)}")
        if left := leftovers(self.folder):
            wrong.append(f"left over: {left}")
        wrong += self._not_ours()
        restore(self.folder, backups(self.folder)[0].run)
        if tree(self.folder) != self.oldest:
            wrong.append("restore does not bring the first state back")
        if left := leftovers(self.folder):
            wrong.append(f"left over after a restore: {left}")
        return wrong

    def _not_ours(self) -> list[str]:
        # the sound states were compared already, see Scene
        return [] if tree(self.folder) in self.sound else only_ours_differ(self.start, self.folder)

    def _classes_only(self) -> dict[str, bytes]:
        """The class list is a change of its own, before the first image's."""
        name = "classifiers/classes.json"
        return {**self.before[0], name: self.after[0][name]}

    def _changed(self, expected: dict[str, bytes]) -> list[str]:
        found = tree(self.folder)
        names = sorted({*expected, *found})
        return [name for name in names if found.get(name) != expected.get(name)]

    def _lock_is_of_the_dead(self) -> None:
        """A process that lost its disk stands for one that died: give its lock a dead holder."""
        lock = self.folder / LOCK_NAME
        if lock.exists():
            holder = json.loads(lock.read_text())
            if holder["pid"] == os.getpid():
                gone = subprocess.Popen([sys.executable, "-c", ""])
                gone.wait()
                lock.write_text(json.dumps({**holder, "pid": gone.pid}))


def main(top: Path, engine_name: str) -> None:
    engine: Engine = NativeProject
    if engine_name == "paquo":
        from qupath_hccmil.qupath.paquo.paquo_project import PaquoProject

        engine = PaquoProject
    scenes: dict[str, Scene] = {}
    while True:
        try:
            name, task = pickle.load(sys.stdin.buffer)
        except EOFError:
            return
        if name not in scenes:
            scenes[name] = Scene(top / name, name, engine)
        scene = scenes[name]
        if isinstance(task, bool):
            answers = [{"count": scene.count(task)}]
        else:
            answers = [scene.happens(fault) for fault in task]
        pickle.dump(answers, sys.stdout.buffer)
        sys.stdout.buffer.flush()


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2])
