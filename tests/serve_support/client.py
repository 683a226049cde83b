"""Drives `blockjob serve` with the package qemu.qmp; what it saw goes to standard output, a JSON object."""

import asyncio
import json
import sys

from qemu.qmp import ExecuteError, QMPClient


async def until(listener, seen, job, status):
    while (job, status) not in seen:
        data = (await listener.get())["data"]
        seen.append((data["id"], data["status"]))


async def main(path, folder):
    qmp = QMPClient("test")
    report = {}
    seen = []
    with qmp.listener("JOB_STATUS_CHANGE") as listener:
        await qmp.connect(path)
        report["package"] = qmp.greeting.QMP.version["package"]
        for name in ("a", "b"):
            file = {"driver": "file", "filename": f"{folder}/{name}"}
            await qmp.execute("blockdev-add", {"driver": "raw", "node-name": name, "file": file})
        copy = {"device": "a", "target": "b", "sync": "full"}
        await qmp.execute("blockdev-backup", {"job-id": "j0", "auto-dismiss": False, **copy})
        await until(listener, seen, "j0", "concluded")
        report["jobs"] = await qmp.execute("query-jobs")
        await qmp.execute("job-dismiss", {"id": "j0"})
        await qmp.execute("blockdev-mirror", {"job-id": "m", **copy})
        await until(listener, seen, "m", "ready")
        await qmp.execute("block-job-complete", {"device": "m"})
        await until(listener, seen, "m", "null")
        try:
            await qmp.execute("block-job-pause", {"device": "m"})
        except ExecuteError as error:
            report["refused"] = [error.error.error.class_, error.error.error.desc]
        report["commands"] = len(await qmp.execute("query-commands"))
        report["statuses"] = seen
        await qmp.execute("quit")
        try:
            await qmp.disconnect()
        except EOFError:
            pass  # The server was faster.
    print(json.dumps(report))


asyncio.run(main(sys.argv[1], sys.argv[2]))
