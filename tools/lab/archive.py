# SPDX-License-Identifier: BSD-3-Clause OR GPL-2.0-only
"""Packages from Debian's archive, fetched with an apt of our own.

The host's apt is only asked where its mirror is and how it reaches the
network. Lists, cache and status live in the lab folder, so that an ordinary
user may run all of it; apt checks the archive's signature with the host's
debian-archive-keyring.
"""

import os
import re
import shutil
import subprocess
import urllib.parse

from labkit import LAB, LabError, Missing, Step, need, run, write_file

APT = LAB / "apt"
DEBS = LAB / "debs"
KEYRING = "/usr/share/keyrings/debian-archive-keyring.gpg"
SUITES = ("trixie", "trixie-backports")
ARCH = "amd64"


def mirror():
    """The base address of the Debian archive that this host uses."""
    given = os.environ.get("VIOMMU_MIRROR")
    if given:
        return given
    fields = "$(ORIGIN)|$(LABEL)|$(REPO_URI)"
    lines = run(["apt-get", "indextargets", "--format", fields,
                 "Created-By: Packages"]).splitlines()
    found = []
    for line in lines:
        origin, label, uri = line.split("|", 2)
        if origin == "Debian" and label == "Debian":
            found.insert(0, uri)
        elif not origin and re.search(r"/debian/?$", uri):
            found.append(uri)  # lists were never fetched here
    if not found:
        raise Missing("this host's apt names no Debian archive: set VIOMMU_MIRROR "
                      "to the address of one (the folder that holds dists/)")
    return found[0].rstrip("/")


def host_network():
    """The host's proxy and transport settings, as apt.conf lines."""
    dump = run(["apt-config", "dump"])
    wanted = r"^Acquire::(http|https|ftp|ForceIPv|Retries|socks)[^ ]* \".*\";$"
    return [line for line in dump.splitlines() if re.match(wanted, line)]


def configure():
    need("apt-get", "apt")
    if not os.path.exists(KEYRING):
        raise Missing(f"{KEYRING} is missing: install debian-archive-keyring")
    for name in ("lists/partial", "cache/archives/partial", "state"):
        (APT / name).mkdir(parents=True, exist_ok=True)
    DEBS.mkdir(parents=True, exist_ok=True)
    base = mirror()
    write_file(APT / "sources.list", "".join(
        f"deb [signed-by={KEYRING}] {base} {suite} main\n" for suite in SUITES))
    write_file(APT / "status", "")
    write_file(APT / "apt.conf", "\n".join(host_network() + [
        'Dir::Etc::main "/dev/null";',
        'Dir::Etc::parts "/dev/null";',
        f'Dir::Etc::sourcelist "{APT}/sources.list";',
        'Dir::Etc::sourceparts "/dev/null";',
        'Dir::Etc::preferences "/dev/null";',
        'Dir::Etc::preferencesparts "/dev/null";',
        f'Dir::State "{APT}/state";',
        f'Dir::State::lists "{APT}/lists";',
        f'Dir::State::status "{APT}/status";',
        f'Dir::Cache "{APT}/cache";',
        f'Dir::Log "{APT}";',
        f'APT::Architecture "{ARCH}";',
        f'APT::Architectures {{ "{ARCH}"; }};',
        'APT::Install-Recommends "false";',
        'APT::Sandbox::User "";',
        'Acquire::Languages "none";',
        'Acquire::AllowInsecureRepositories "false";',
        'Acquire::Retries "3";',
    ]) + "\n")


def apt(program, *argv, **kw):
    env = dict(os.environ, APT_CONFIG=str(APT / "apt.conf"), LC_ALL="C")
    return run([program, *argv], env=env, **kw)


_updated = False


def update():
    """Fetches the package lists, once per process."""
    global _updated
    if _updated:
        return
    configure()
    with Step("package lists", 3):
        try:
            apt("apt-get", "-q", "update", "-o", "APT::Update::Error-Mode=any")
        except LabError as error:
            raise LabError(f"cannot read the archive's lists\n{error}") from None
    _updated = True


def closure(wanted, suite=None):
    """All packages that installing `wanted` takes: [(name, version)]."""
    update()
    argv = ["-t", suite] if suite else []
    out = apt("apt-get", "install", "--print-uris", "-y", "-qq", *argv, *wanted)
    found = []
    for line in out.splitlines():
        if line.startswith("'"):
            name, version, _ = line.split()[1].split("_", 2)
            found.append((name, urllib.parse.unquote(version)))
    return found


def show(name):
    """The version of a package, and the names it depends on: (version, [name])."""
    update()
    fields = dict(line.split(": ", 1) for line in apt("apt-cache", "show", "--no-all-versions",
                                                      name).splitlines() if ": " in line)
    return fields["Version"], [each.split()[0] for each in fields["Depends"].split(",")]


def fetch(packages, what):
    """Downloads and checks packages; returns their files. Resumes."""
    files = []
    with Step(f"fetching {what}: {len(packages)} packages", 5):
        # apt continues a partial file and keeps one whose hash is right.
        apt("apt-get", "-q", "download",
            *[f"{name}={version}" for name, version in packages], cwd=DEBS)
    for name, version in packages:
        stem = f"{name}_{version.replace(':', '%3a')}_"
        match = [p for p in DEBS.iterdir() if p.name.startswith(stem)]
        if not match:
            raise LabError(f"{name} {version} was not downloaded")
        files.append(match[0])
    return files


def unpack(files, target, what, only=None):
    """Unpacks packages into target, which appears whole or not at all."""
    need("dpkg-deb", "dpkg")
    fresh = target.with_name(f".{target.name}.new")
    shutil.rmtree(fresh, ignore_errors=True)
    fresh.mkdir(parents=True)
    with Step(f"unpacking {what}", 5):
        for file in files:
            deb = subprocess.Popen(["dpkg-deb", "--fsys-tarfile", file],
                                   stdout=subprocess.PIPE)
            run(["tar", "-x", "-C", fresh, "--no-same-owner", "--wildcards",
                 "--exclude=./usr/share/doc*", "--exclude=./usr/share/man*",
                 "--exclude=./usr/share/locale*", *(only or [])],
                stdin=deb.stdout)
            if deb.wait():
                raise LabError(f"{file} is damaged: remove it and run again")
    shutil.rmtree(target, ignore_errors=True)
    fresh.rename(target)
    for file in files:
        file.unlink()
