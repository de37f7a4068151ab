#!/usr/bin/env python3
"""trim.py RUN TO: a run of summarise.py, with only the columns that the replay needs."""
import csv, gzip, io, json, os, sys
src, dst = sys.argv[1:]
os.makedirs(dst, exist_ok=True)
KEEP = {"requests.csv.gz": "id queue_order queued_s input_tokens output_tokens priority prefix_group prefix_tokens cached_tokens scheduled_s preemptions".split(),
        "steps.csv.gz": "step sched_start_s update_end_s running waiting free_blocks preempted finished batch".split()}
for name, keep in KEEP.items():
    rows = list(csv.DictReader(gzip.open(f"{src}/{name}", "rt", newline="")))
    if "priority" in keep and any(r["priority"] for r in rows):
        # vLLM's order among equals is that of the arrival at its API process
        a = sorted(rows, key=lambda r: int(r["queue_order"]))
        assert all(float(x["arrival"]) < float(y["arrival"]) for x, y in zip(a, a[1:])), "queue order is not the order of arrival"
    keep = [k for k in keep if any(r.get(k) for r in rows)] if name.startswith("req") else keep
    buf = io.StringIO()
    w = csv.DictWriter(buf, keep, extrasaction="ignore", lineterminator="\n")
    w.writeheader(); w.writerows(rows)
    with open(f"{dst}/{name}", "wb") as f, gzip.GzipFile("", "wb", 9, f, mtime=0) as g:
        g.write(buf.getvalue().encode())
json.dump(json.load(open(f"{src}/scheduler_config.json")), open(f"{dst}/scheduler_config.json", "w"), indent=1)
