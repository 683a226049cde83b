#!/usr/bin/env python3
"""A small job engine, and the adapter that lets `blockjob vectors` run against it.

    blockjob vectors --run --exec 'python3 engine.py'

The engine is single-threaded and keeps nothing but what the lifecycle needs. The adapter, at the end of the file,
is what you write for an implementation of your own: one line in, what the implementation shows out, then a rest.

`--mistake NAME` plants a mistake, to show that the vectors find it; `--mistakes` lists the names.
"""

import json
import sys

READY, PENDING, COMPLETED, CANCELLED, ERROR = (
    "BLOCK_JOB_" + name for name in ("READY", "PENDING", "COMPLETED", "CANCELLED", "ERROR")
)

ALIVE = ("created", "running", "paused", "ready", "standby")
PERMITTED = {
    "cancel": ALIVE + ("waiting", "pending"),
    "pause": ALIVE,
    "resume": ALIVE,
    "set-speed": ALIVE,
    "complete": ("ready", "standby"),
    "finalize": ("pending",),
    "dismiss": ("concluded",),
}

MISTAKES = {
    "second-pause-accepted": "a second pause of the user is accepted",
    "ready-unannounced": "BLOCK_JOB_READY is not sent",
    "cancel-completes": "a cancelled job announces BLOCK_JOB_COMPLETED",
    "lone-commit": "a member of a transaction commits without waiting for the others",
    "oldest-first": "an abort takes the oldest member first",
    "paused-for-good": "a forced cancel does not end a pause",
    "dismissed-early": "a job that its user dismisses vanishes by itself",
    "resume-ignored": "a resume is answered and has no effect",
    "prepare-ignored": "a failed prepare commits all the same",
    "unstarted-runs": "a job cancelled before its start announces its end",
    "wrong-words": "a refusal names the verb wrongly",
    "no-answer": "finalize is not answered",
}


class Refused(Exception):
    def __init__(self, desc, error_class="GenericError"):
        super().__init__(desc)
        self.desc, self.error_class = desc, error_class


class Job:
    def __init__(self, engine, options):
        self.engine = engine
        self.id = options["job"]
        self.options = options
        self.status = None
        self.body = "unstarted"  # then "running", then "ended"
        self.outcome = None  # "ok", "error", "cancelled"
        self.user_paused = False
        self.forced = False
        self.soft = False
        self.complete = False

    def enter(self, status):
        self.status = status
        self.engine.show({"see": "status", "job": self.id, "status": status})

    def event(self, name, **more):
        self.engine.show({"see": "event", "job": self.id, "event": name, **more})

    def final(self):
        return self.status in ("concluded", "null")


class Engine:
    """The jobs of one transaction, oldest first."""

    def __init__(self, show, mistake=None):
        self.show = show
        self.mistake = mistake
        self.jobs = []
        self.aborting = False

    # What users and creators ask.

    def create(self, options):
        job = Job(self, options)
        self.jobs.append(job)
        job.enter("created")

    def start(self):
        for job in self.jobs:
            job.body = "running"
            job.enter("running")

    def find(self, name, block_job=False):
        for job in self.jobs:
            if job.id == name and job.status != "null":
                return job
        if block_job:
            raise Refused(f"Block job '{name}' not found", "DeviceNotActive")
        raise Refused("Job not found")

    def check(self, job, verb):
        if job.status not in PERMITTED[verb]:
            named = "verb" if self.mistake == "wrong-words" else verb
            raise Refused(f"Job '{job.id}' in state '{job.status}' cannot accept command verb '{named}'")

    def ask(self, verb, job, force=False, speed=0):
        # The order of the checks decides which of two refusals is told.
        if verb == "resume" and not job.user_paused:
            raise Refused("Can't resume a job that was not paused")
        if verb == "cancel" and not force and job.user_paused:
            raise Refused(f"The block job for device '{job.id}' is currently paused")
        self.check(job, verb)
        if verb == "pause":
            if job.user_paused and self.mistake != "second-pause-accepted":
                raise Refused("Job is already paused")
            job.user_paused = True
        elif verb == "resume":
            job.user_paused = self.mistake == "resume-ignored"
        elif verb == "set-speed":
            if speed < 0:
                raise Refused("Parameter 'speed' expects a non-negative value")
        elif verb == "complete":
            if job.forced or job.soft or not job.options["can-complete"]:
                raise Refused(f"The active block job '{job.id}' cannot be completed")
            job.complete = True
        elif verb == "cancel":
            self.cancel(job, force)
        elif verb == "finalize":
            self.prepare()
            if any(other.options["prepare-fails"] for other in self.jobs) and self.mistake != "prepare-ignored":
                raise Refused(
                    f"Job '{job.id}' could not be finalized: a member of its transaction failed to prepare"
                )
        elif verb == "dismiss":
            job.enter("null")

    def cancel(self, job, force):
        if not force and job.options["can-complete"] and job.status in ("ready", "standby"):
            job.soft = True  # It finishes where it stands.
            return
        job.forced = True
        job.user_paused = job.user_paused and self.mistake == "paused-for-good"
        if job.body != "running":
            job.outcome = "cancelled"
            self.abort(job)

    # What drivers do.

    def converge(self, job):
        job.enter("ready")
        if self.mistake != "ready-unannounced":
            job.event(READY)

    def io_error(self, job, action):
        job.event(ERROR, action=action)
        if action == "stop":
            job.user_paused = True

    def end(self, job, ok):
        job.body = "ended"
        job.user_paused = False
        if ok and not job.forced and not self.aborting:
            job.outcome = "ok"
            job.enter("waiting")
            self.decide()
        else:
            job.outcome = "cancelled" if job.forced else "error"
            job.enter("aborting")
            self.abort(job)

    def settle(self):
        """Lets every body go on as far as it does by itself."""
        moved = True
        while moved:
            moved = False
            for job in self.jobs:
                if job.body != "running":
                    continue
                parked = {"running": "paused", "ready": "standby"}
                awake = {"paused": "running", "standby": "ready"}
                pause = job.user_paused and (not job.forced or self.mistake == "paused-for-good")
                if pause and job.status in parked:
                    job.enter(parked[job.status])
                    moved = True
                elif not pause and job.status in awake:
                    job.enter(awake[job.status])
                    moved = True
                elif not pause and job.forced and not job.options["lingers"]:
                    self.end(job, ok=False)
                    moved = True

    # What the transaction does.

    def decide(self):
        if any(job.status != "waiting" for job in self.jobs) and self.mistake != "lone-commit":
            return
        for job in reversed(self.jobs):
            if job.status == "waiting":
                job.enter("pending")
                if not job.options["auto-finalize"]:
                    job.event(PENDING)
        if all(job.options["auto-finalize"] for job in self.jobs):
            self.prepare()

    def prepare(self):
        for job in reversed(self.jobs):
            if job.options["prepare-fails"] and self.mistake != "prepare-ignored":
                job.outcome = "error"
                self.abort(job)
                return
        for job in reversed(self.jobs):
            if job.status == "pending":
                self.conclude(job)

    def abort(self, initiator):
        if not self.aborting:
            self.aborting = True
            for job in self.jobs:
                if job is not initiator and not job.final():
                    job.forced = True
                    job.user_paused = False
                    if job.body != "running":
                        job.outcome = "cancelled"
        # Those that never ran first, then the newest; one that still runs is waited for.
        newest_first = list(reversed(self.jobs))
        turns = [job for job in newest_first if job.body == "unstarted"]
        turns += [job for job in newest_first if job.body != "unstarted"]
        if self.mistake == "oldest-first":
            turns.reverse()
        for job in turns:
            if job.final():
                continue
            if job.body == "running":
                return
            if job.status != "aborting":
                job.enter("aborting")
            self.conclude(job)

    def conclude(self, job):
        started = job.body != "unstarted"
        if started or self.mistake == "unstarted-runs":
            if job.forced and self.mistake != "cancel-completes":
                job.event(CANCELLED)
            else:
                job.event(COMPLETED, error=job.outcome != "ok")
        job.enter("concluded")
        if job.options["auto-dismiss"] or not started or self.mistake == "dismissed-early":
            job.enter("null")


# The adapter.


def answered(engine, show, action):
    try:
        action()
    except Refused as refused:
        show({"see": "answer", "ok": False, "class": refused.error_class, "desc": refused.desc})
    else:
        show({"see": "answer", "ok": True})


def carry_out(engine, order, show):
    do = order["do"]
    if do == "create":
        answered(engine, show, lambda: engine.create(order))
    elif do == "start":
        answered(engine, show, engine.start)
    elif do == "give-up":
        answered(engine, show, lambda: engine.find(order["job"]).enter("null"))
    elif do == "ask":
        verb = order["verb"]
        if verb not in PERMITTED:
            show({"see": "cannot", "why": f"there is no {verb}"})
            return
        silent = verb == "finalize" and engine.mistake == "no-answer"
        answered(
            engine,
            (lambda line: None) if silent else show,
            lambda: engine.ask(
                verb,
                engine.find(order["job"], order["block-job"]),
                order.get("force", False),
                order.get("speed", 0),
            ),
        )
    elif do == "converge":
        engine.converge(engine.find(order["job"]))
    elif do == "io-error":
        engine.io_error(engine.find(order["job"]), order["action"])
    elif do == "end":
        engine.end(engine.find(order["job"]), order["ok"])
    else:
        show({"see": "cannot", "why": f"what is {do}?"})
    engine.settle()


def main(arguments):
    mistake = None
    if arguments == ["--mistakes"]:
        print("\n".join(MISTAKES))
        return 0
    if arguments:
        if len(arguments) != 2 or arguments[0] != "--mistake" or arguments[1] not in MISTAKES:
            print(f"usage: engine.py [--mistakes | --mistake {'|'.join(MISTAKES)}]", file=sys.stderr)
            return 2
        mistake = arguments[1]

    def show(line):
        print(json.dumps(line), flush=True)

    engine = None
    for text in sys.stdin:
        order = json.loads(text)
        if order["do"] == "begin":
            engine = Engine(show, mistake)
        else:
            carry_out(engine, order, show)
        show({"see": "rest"})
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
