"""Where the workers are: on this machine, jobs of a queue, or a Dask cluster that runs already."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

from qupath_hccmil.errors import ClusterError, PackageError
from qupath_hccmil.plain_words import count_of

if TYPE_CHECKING:
    from distributed import Client

_log = logging.getLogger(__name__)

LOCAL = "local"
CORES_A_WORKER = 4
"""On this machine. The networks gain little by more, and a slide is read by two threads."""

CONNECT_S = 30
JOB_ENDED_S = 60.0
"""Seconds without any of its workers, after which a job has ended."""
WORKER_ENDED_S = 60.0
"""Seconds that a lost worker on this machine may take to start again."""

_KINDS = {
    "slurm": "SLURMCluster",
    "pbs": "PBSCluster",
    "lsf": "LSFCluster",
    "sge": "SGECluster",
    "htcondor": "HTCondorCluster",
    "oar": "OARCluster",
    "moab": "MoabCluster",
}
# Seconds between two looks at which workers on this machine were given up.
_RENEW_S = 5.0
# How long Dask waits for a lost worker.
_LOST = "distributed.deploy.lost-worker-timeout"
# A lost worker is counted by us, for each slide.
_SCHEDULER = {"distributed.scheduler.allowed-failures": 0}


@dataclass(frozen=True)
class Workers:
    """A cluster in use.

    Attributes
    ----------
    client : distributed.Client
    kind : str
        ``local``, a kind of queue, or an address.
    threads : int or None
        Threads that the networks of a worker may use; None shares a computer's cores among its
        workers.
    renew : callable
        Called once a second or less often; starts others for workers that have ended for good.
    """

    client: Client
    kind: str
    threads: int | None
    renew: Callable[[], None] = lambda: None

    @property
    def dashboard(self) -> str:
        """Address of Dask's dashboard; empty where bokeh, which draws it, is not installed."""
        return self.client.dashboard_link if find_spec("bokeh") else ""


@contextmanager
def connected(where: str, workers: int | None = None) -> Iterator[Workers]:
    """Connect to workers, and start those that are ours to start.

    Parameters
    ----------
    where : str
        ``local``; a YAML file of dask-jobqueue; the address of a scheduler.
    workers : int, optional
        Processes to start; by default one for every four cores of this machine.

    Raises
    ------
    PackageError
        Dask is not installed.
    ClusterError
        The file or the address cannot be used.
    """
    require_dask()
    import dask

    with dask.config.set(_SCHEDULER):
        if where == LOCAL:
            with _local(workers) as found:
                yield found
        elif Path(where).suffix.lower() in (".yaml", ".yml"):
            with _jobs(Path(where), workers) as found:
                yield found
        else:
            with _running(where) as found:
                yield found


def require_dask() -> None:
    """Make sure that Dask is installed.

    Raises
    ------
    PackageError
    """
    try:
        import distributed  # noqa: F401
    except ImportError as error:
        raise PackageError(
            "--dask needs the package distributed; install it with pip install "
            "'qupath-hccmil[cluster]'"
        ) from error


@contextmanager
def _local(workers: int | None) -> Iterator[Workers]:
    import dask
    from dask.system import CPU_COUNT
    from distributed import Client, LocalCluster

    count = workers or max(1, CPU_COUNT // CORES_A_WORKER)
    with (
        dask.config.set({_LOST: f"{WORKER_ENDED_S} s"}),
        _without_tracebacks(),
        _closed_at_the_end(
            LocalCluster(
                n_workers=count,
                threads_per_worker=1,
                processes=True,
                memory_limit=0,
                dashboard_address="127.0.0.1:0",
                silence_logs="CRITICAL",
            )
        ) as cluster,
        _closed_at_the_end(Client(cluster)) as client,
    ):
        processes = _Processes(cluster, count)
        yield Workers(client, LOCAL, max(1, CPU_COUNT // count), processes.renew)


class _Processes:
    """Workers on this machine, and others for those that Dask gives up.

    Dask starts a lost worker again. It gives one up that cannot be started, or takes too long, as
    on a machine that is busy with something else.
    """

    def __init__(self, cluster: Any, workers: int) -> None:
        self._cluster = cluster
        self._workers = workers
        self._next = float("-inf")
        self._given_up: frozenset[Any] = frozenset()

    def renew(self) -> None:
        """Start a worker for each one that was given up."""
        now = time.monotonic()
        if now < self._next:
            return
        self._next = now + _RENEW_S
        self._cluster.sync(self._forget_closed)
        given_up = frozenset(self._cluster.worker_spec.keys() - self._cluster.workers.keys())
        if new := given_up - self._given_up:
            _log.warning("%s did not start again; starting others", count_of(len(new), "worker"))
        self._given_up = given_up
        # starts those that are not there
        self._cluster.scale(self._workers)

    async def _forget_closed(self) -> None:
        from distributed.core import Status

        workers = self._cluster.workers
        for name, worker in dict(workers).items():
            if worker.status in (Status.closed, Status.failed):
                del workers[name]


@contextmanager
def _closed_at_the_end(opened: Any) -> Iterator[Any]:
    """Close a cluster or a client.

    One that does not end in time or in order spoils nothing that was done, and hides no error.
    """
    try:
        yield opened
    finally:
        try:
            opened.close()
        except Exception as error:
            # whatever Dask has to say of it
            _log.debug("%r could not be closed: %r", opened, error)


@contextmanager
def _jobs(path: Path, workers: int | None) -> Iterator[Workers]:
    from distributed import Client

    if workers is None:
        raise ClusterError(f"{path}: say how many workers its jobs shall start, with --workers N")
    with (
        _without_tracebacks(),
        job_cluster(path) as (cluster, kind, threads),
        _closed_at_the_end(Client(cluster)) as client,
    ):
        jobs = _Jobs(cluster, workers)
        yield Workers(client, kind, threads, jobs.renew)


@contextmanager
def _without_tracebacks() -> Iterator[None]:
    """Hide what is logged of jobs or workers that cannot be started: we say it in one line."""
    loggers = [logging.getLogger(name) for name in ("asyncio", "tornado.application")]
    levels = [each.level for each in loggers]
    for each in loggers:
        each.setLevel(logging.CRITICAL + 1)
    try:
        yield
    finally:
        for each, level in zip(loggers, levels, strict=True):
            each.setLevel(level)


class _Jobs:
    """Jobs that are submitted, and again where one has ended: a queue ends each at its time limit.

    A job that waits in the queue, or whose processes are being started again, has not ended.

    Raises
    ------
    ClusterError
        The jobs cannot be submitted.
    """

    def __init__(self, cluster: Any, workers: int) -> None:
        self._cluster = cluster
        self._workers = workers
        self._absent_since: dict[str, float | None] = {}
        self._try_again = float("inf")
        if error := self._submitted(()):
            raise ClusterError(f"jobs cannot be submitted here: {error}")

    def renew(self) -> None:
        """Submit a job for each one that has ended."""
        cluster, now = self._cluster, time.monotonic()
        names = {facts["name"] for facts in cluster.scheduler_info["workers"].values()}
        for job, spec in dict(cluster.worker_spec).items():
            if names & {f"{job}{suffix}" for suffix in spec.get("group", [""])}:
                self._absent_since[job] = None
            elif job in self._absent_since:
                self._absent_since[job] = self._absent_since[job] or now
        absent = self._absent_since.items()
        ended = [job for job, since in absent if since and now - since > JOB_ENDED_S]
        if not ended and now < self._try_again:
            return
        for job in ended:
            del self._absent_since[job]
        self._try_again = float("inf")
        if error := self._submitted(ended):
            _log.warning("a job cannot be submitted now; it is tried again: %s", error)
            self._try_again = now + JOB_ENDED_S

    def _submitted(self, ended: Sequence[str]) -> str:
        """Submit all jobs that are not there; what is wrong if that fails."""
        from distributed.core import Status

        try:
            self._cluster.sync(self._cluster.scale_down, ended)
            self._cluster.scale(self._workers)
            # waits for all of them, and hides what is wrong
            self._cluster.sync(self._cluster.scale_down, ())
            for job in self._cluster.workers.values():
                if job.job_id is None:
                    self._cluster.sync(job.start)
        except (RuntimeError, OSError, ValueError) as error:
            for job in self._cluster.workers.values():
                if job.job_id is None:
                    # else the cluster cannot be closed
                    job.status = Status.failed
            return " ".join(str(error).split())
        return ""


@contextmanager
def job_cluster(path: Path) -> Iterator[tuple[Any, str, int]]:
    """A cluster of queued jobs, none of which is submitted yet.

    Parameters
    ----------
    path : Path
        Configuration of dask-jobqueue: ``jobqueue:``, a kind of queue, and its settings.

    Yields
    ------
    cluster : dask_jobqueue.JobQueueCluster
    kind : str
    threads : int
        Cores of each worker.

    Raises
    ------
    PackageError
        dask-jobqueue is not installed.
    ClusterError
        The file cannot be used.
    """
    try:
        import dask_jobqueue
    except ImportError as error:
        raise PackageError(
            f"{path}: jobs need the package dask-jobqueue; install it with pip install "
            "'qupath-hccmil[cluster]'"
        ) from error
    import dask

    kind, given = _configured(path)
    settings = {str(key).replace("_", "-"): value for key, value in given.items()}
    known = dask.config.get(f"jobqueue.{kind}")
    unknown = [key for key in settings if key not in known]
    if unknown:
        raise ClusterError(
            f"{path}: {kind} has no setting {unknown[0]!r}; its settings: "
            f"{', '.join(sorted(known))}"
        )
    merged = {**known, **settings}
    absent = [key for key in ("cores", "memory", "disk") if key in known and not merged[key]]
    if absent:
        raise ClusterError(f"{path}: {kind}: say what a job gets: {', '.join(absent)}")
    # one slide at a time in each process; its networks use all of the process's cores
    extra = [*(settings.get("worker-extra-args") or ()), "--nthreads", "1"]
    # Any free port: Dask's usual one may be taken by another run, and the link is printed.
    scheduler = {"dashboard_address": ":0", **(settings.get("scheduler-options") or {})}
    own = {"worker-extra-args": extra, "scheduler-options": scheduler}
    changed = dask.config.merge(dask.config.config, {"jobqueue": {kind: {**settings, **own}}})
    # Dask closes the job of a lost worker, by its name, and we give that name to another job
    with dask.config.set(changed), dask.config.set({_LOST: f"{JOB_ENDED_S / 2} s"}):
        try:
            cluster = getattr(dask_jobqueue, _KINDS[kind])()
        except (ValueError, TypeError, RuntimeError, OSError) as error:
            raise ClusterError(f"{path}: {' '.join(str(error).split())}") from error
        with _closed_at_the_end(cluster):
            cores = int(dask.config.get(f"jobqueue.{kind}.cores"))
            processes = dask.config.get(f"jobqueue.{kind}.processes") or _processes(cluster)
            yield cluster, kind, max(1, cores // int(processes))


def _processes(cluster: Any) -> int:
    """Processes of a job, as dask-jobqueue chose them."""
    return int(cluster._dummy_job.worker_processes)


def _configured(path: Path) -> tuple[str, Mapping[str, Any]]:
    """Kind of queue and settings of a YAML file.

    Raises
    ------
    ClusterError
    """
    import yaml

    try:
        content = yaml.safe_load(path.read_text(encoding="utf-8-sig"))
        queues = content["jobqueue"]
        named = [each for each in queues if each in _KINDS]
        if len(queues) != 1 or not named:
            raise ValueError(f"it names {', '.join(map(str, queues)) or 'none'}")
        kind = named[0]
        settings = queues[kind]
        if not isinstance(settings, dict):
            raise ValueError(f"{kind} has no settings")
    except OSError as error:
        raise ClusterError(f"{path}: cannot be read ({error.strerror})") from error
    except (yaml.YAMLError, ValueError, KeyError, TypeError) as error:
        raise ClusterError(
            f"{path}: is not a configuration of one queue ({' '.join(str(error).split())[:200]}); "
            f"it begins with jobqueue: and one of {', '.join(_KINDS)}"
        ) from error
    return kind, settings


@contextmanager
def _running(address: str) -> Iterator[Workers]:
    from distributed import Client

    is_file = address.endswith(".json")
    try:
        if is_file and not Path(address).is_file():
            # Dask would wait for it for ever
            raise ValueError("there is no such scheduler file")
        client = Client(**{"scheduler_file" if is_file else "address": address}, timeout=CONNECT_S)
    except (OSError, ValueError) as error:
        raise ClusterError(
            f"{address}: no Dask scheduler answers ({' '.join(str(error).split())}); give its "
            "address, such as tcp://host:8786, a YAML file of dask-jobqueue, or local"
        ) from error
    with _closed_at_the_end(client):
        yield Workers(client, address, None)
