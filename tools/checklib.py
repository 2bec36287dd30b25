# SPDX-License-Identifier: BSD-3-Clause OR GPL-2.0-only
"""What the tools/check-* scripts share: the tree's files, and findings that say
what is wrong, where, and what to do."""
import os
import re
import subprocess
import sys

TOP = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
BUILD = os.environ.get('VIOMMU_BUILD', os.path.join(TOP, 'build'))


def files(*suffixes, under=''):
    """Paths from the top of all files that are tracked or new, sorted."""
    out = subprocess.run(['git', 'ls-files', '-co', '--exclude-standard', '--', under or '.'],
                         cwd=TOP, text=True, check=True, stdout=subprocess.PIPE).stdout
    return sorted(f for f in out.splitlines()
                  if (not suffixes or f.endswith(suffixes)) and os.path.isfile(path(f)))


def path(name):
    return os.path.join(TOP, name)


def read(name):
    with open(path(name), encoding='utf-8', errors='replace') as f:
        return f.read()


def lines(name):
    """(number, line) of a file."""
    return enumerate(read(name).splitlines(), 1)


def blank(match):
    return re.sub(r'[^\n]', ' ', match.group(0))


def code(name):
    """The text of a C file without comments and string contents, lines kept."""
    text = read(name)
    pattern = r'/\*.*?\*/|//[^\n]*|"(?:\\.|[^"\\\n])*"'

    def strip(match):
        found = match.group(0)
        if found[0] == '"':
            return '"' + ' ' * (len(found) - 2) + '"'
        return blank(match)
    return re.sub(pattern, strip, text, flags=re.S)


def run(argv, **kwargs):
    """(exit status, output)"""
    done = subprocess.run(argv, cwd=TOP, text=True, errors='replace',
                          stdout=subprocess.PIPE, stderr=subprocess.STDOUT, **kwargs)
    return done.returncode, done.stdout


def release_build():
    """Makes sure that build/release is built; exits with 1 and ninja's words when
    it cannot be. Returns where it is."""
    where = os.path.join(BUILD, 'release')
    for argv in (['tools/configure', 'release', '--buildtype=release'],
                 ['ninja', '-C', where]):
        status, out = run(argv)
        if status:
            print(f'`{" ".join(argv)}` failed:\n{out[-4000:]}')
            sys.exit(1)
    return where



class Findings:
    def __init__(self):
        self.list = []

    def add(self, where, what, todo):
        self.list.append(f'{where}: {what}\n    -> {todo}')

    def finish(self):
        """Prints them; the exit status."""
        for text in self.list:
            print(text)
        if self.list:
            print(f'{len(self.list)} finding{"s" if len(self.list) > 1 else ""}')
        return 1 if self.list else 0
