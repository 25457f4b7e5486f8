#!/usr/bin/env python3
"""Says how much pip would download for a file of requirements, before it does.

    scripts/download_size.py .venv-gpu/bin/python scripts/requirements-gpu.txt
"""

import json
import subprocess
import sys
import tempfile
import urllib.request
from pathlib import Path


def size(url):
    """Bytes of a file, by its server; None where that does not say."""
    try:
        request = urllib.request.Request(url, method="HEAD")
        with urllib.request.urlopen(request, timeout=30) as response:
            return int(response.headers["Content-Length"])
    except (OSError, TypeError, ValueError):
        return None


def main():
    python, requirements = sys.argv[1:]
    with tempfile.TemporaryDirectory() as folder:
        report = Path(folder) / "report.json"
        command = [python, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--dry-run", "--ignore-installed",
                   "--requirement", requirements, "--report", str(report)]
        if subprocess.run(command, stdin=subprocess.DEVNULL).returncode != 0:
            sys.exit("download_size: pip cannot find what is asked for, see above.")
        packages = json.loads(report.read_text())["install"]
    total, unknown = 0, []
    for package in packages:
        name, version = package["metadata"]["name"], package["metadata"]["version"]
        bytes_ = size(package["download_info"]["url"])
        if bytes_ is None:
            unknown.append(name)
        else:
            total += bytes_
            print(f"  {bytes_ / 2**20:7.1f} MiB  {name} {version}")
    note = f", and {', '.join(unknown)}, whose size is not known" if unknown else ""
    print(f"  {total / 2**20:7.1f} MiB in {len(packages)} packages{note}; on the disk it is about twice that")


if __name__ == "__main__":
    main()
