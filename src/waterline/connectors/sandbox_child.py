"""The inside of the sandbox: a program of its own, run by `connectors/sandbox.py`; imports nothing of Waterline.

Reads one JSON line, shuts itself in, writes a blank line (the tool's time begins), runs its `run(**arguments)`, writes
one JSON object. Shut in means, for good and for whatever the tool's code does (the kernel holds it, not Python):
* system calls: only those of `_CALLS`: no process or thread is made, no program run, no socket opened, no signal sent;
* files (Landlock): read below Python's own library and the system's shared libraries, nothing else, nothing written;
* limits: address space, CPU seconds, open files, size of files, core dumps.
What it still can learn: the time, which paths exist and how large they are, its own process id.
If a step fails, nothing is run.
"""

import ctypes
import json
import os
import platform
import resource
import signal
import struct
import sys
import sysconfig
from pathlib import Path
from typing import Any, NoReturn

# asm-generic numbers (aarch64), x86_64's own. https://github.com/torvalds/linux: arch/x86/entry/syscalls/syscall_64.tbl
_CALLS = {
    "x86_64": (
        0xC000003E,
        # read write close stat fstat lstat poll lseek mmap mprotect munmap brk rt_sigaction rt_sigprocmask rt_sigreturn
        (0, 1, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15,
         # ioctl pread64 readv writev access select sched_yield mremap madvise dup nanosleep getpid exit uname fcntl
         16, 17, 19, 20, 21, 23, 24, 25, 28, 32, 35, 39, 60, 63, 72,
         # getcwd readlink gettimeofday getrusage times getuid getgid geteuid getegid sigaltstack gettid time futex
         79, 89, 96, 98, 100, 102, 104, 107, 108, 131, 186, 201, 202,
         # sched_getaffinity getdents64 clock_gettime clock_getres clock_nanosleep exit_group openat newfstatat
         # readlinkat
         204, 217, 228, 229, 230, 231, 257, 262, 267,
         # faccessat pselect6 ppoll getrandom statx rseq faccessat2 restart_syscall
         269, 270, 271, 318, 332, 334, 439, 219),
    ),
    "aarch64": (
        0xC00000B7,
        # getcwd dup fcntl ioctl faccessat openat close getdents64 lseek read write readv writev pread64 pselect6 ppoll
        (17, 23, 25, 29, 48, 56, 57, 61, 62, 63, 64, 65, 66, 67, 72, 73,
         # readlinkat newfstatat fstat exit exit_group futex nanosleep clock_gettime clock_getres clock_nanosleep
         78, 79, 80, 93, 94, 98, 101, 113, 114, 115,
         # sched_getaffinity sched_yield restart_syscall sigaltstack rt_sigaction rt_sigprocmask rt_sigreturn
         # times uname
         123, 124, 128, 132, 134, 135, 139, 153, 160,
         # getrusage gettimeofday getpid getuid geteuid getgid getegid gettid brk munmap mremap mmap mprotect madvise
         165, 169, 172, 174, 175, 176, 177, 178, 214, 215, 216, 222, 226, 233,
         # getrandom statx rseq faccessat2
         278, 291, 293, 439),
    ),
}  # fmt: skip
_LIBRARIES = ("/usr/lib", "/lib", "/lib64", "/usr/lib64", "/usr/share/zoneinfo", "/etc/ld.so.cache", "/etc/localtime")
_PR_SET_PDEATHSIG, _PR_SET_SECCOMP, _PR_SET_NO_NEW_PRIVS, _PR_SET_DUMPABLE = 1, 22, 38, 4
_LANDLOCK_CREATE, _LANDLOCK_ADD, _LANDLOCK_RESTRICT = 444, 445, 446
_READ_FILE, _READ_DIR = 1 << 2, 1 << 3
_RIGHTS = {1: (1 << 13) - 1, 2: (1 << 14) - 1, 3: (1 << 15) - 1, 4: (1 << 15) - 1, 5: (1 << 16) - 1}  # by ABI

_libc = ctypes.CDLL(None, use_errno=True)


def _check(what: str, returned: int) -> int:
    if returned < 0:
        raise OSError(ctypes.get_errno(), f"{what}: {os.strerror(ctypes.get_errno())}")
    return returned


def _prctl(what: str, *given: Any) -> None:
    padded = [*given, 0, 0, 0, 0][:5]
    _check(what, _libc.prctl(*(ctypes.c_ulong(x) if isinstance(x, int) else x for x in padded)))


def _shut_files() -> None:
    """https://docs.kernel.org/userspace-api/landlock.html"""
    abi = _libc.syscall(_LANDLOCK_CREATE, None, ctypes.c_size_t(0), ctypes.c_uint(1))
    if abi < 1:
        raise OSError("files: this kernel has no Landlock (5.13 or newer, enabled)")
    handled = struct.pack("=Q", _RIGHTS.get(abi, _RIGHTS[5]))
    rules = _check("files", _libc.syscall(_LANDLOCK_CREATE, handled, ctypes.c_size_t(8), ctypes.c_uint(0)))
    stdlib = [sysconfig.get_path(name) for name in ("stdlib", "platstdlib")]
    for path in map(Path, dict.fromkeys([*stdlib, *_LIBRARIES, f"{sys.base_prefix}/lib"])):
        if not path.exists():
            continue
        opened = os.open(path, os.O_PATH | os.O_CLOEXEC)
        allowed = _READ_FILE | _READ_DIR if path.is_dir() else _READ_FILE
        rule = struct.pack("=Qi", allowed, opened)
        added = _libc.syscall(_LANDLOCK_ADD, ctypes.c_int(rules), ctypes.c_int(1), rule, ctypes.c_uint(0))
        _check("files", added)
        os.close(opened)
    _check("files", _libc.syscall(_LANDLOCK_RESTRICT, ctypes.c_int(rules), ctypes.c_uint(0)))
    os.close(rules)


def _shut_calls() -> None:
    """https://docs.kernel.org/userspace-api/seccomp_filter.html: what is not listed answers EPERM."""
    architecture, calls = _CALLS[platform.machine()]
    load, equal, at_least, give = 0x20, 0x15, 0x35, 0x06
    allow, refuse, kill = 0x7FFF0000, 0x00050001, 0x80000000
    program = [(load, 0, 0, 4), (equal, 1, 0, architecture), (give, 0, 0, kill), (load, 0, 0, 0)]
    program += [(at_least, 0, 1, 0x40000000), (give, 0, 0, kill)]  # x86's other table of calls
    for number in calls:
        program += [(equal, 0, 1, number), (give, 0, 0, allow)]
    program.append((give, 0, 0, refuse))
    code = b"".join(struct.pack("=HBBI", *step) for step in program)
    held = ctypes.create_string_buffer(code, len(code))
    filters = struct.pack("@HP", len(program), ctypes.addressof(held))
    _prctl("calls", _PR_SET_SECCOMP, 2, ctypes.c_char_p(filters))


def _limit(memory_mb: int, cpu_s: int) -> None:
    for what, most in (
        (resource.RLIMIT_AS, memory_mb << 20),
        (resource.RLIMIT_CPU, cpu_s),
        (resource.RLIMIT_NOFILE, 32),
        (resource.RLIMIT_FSIZE, 0),
        (resource.RLIMIT_CORE, 0),
        (resource.RLIMIT_STACK, 8 << 20),
    ):
        resource.setrlimit(what, (most, most))


def _say(out: int, answer: dict[str, Any]) -> NoReturn:
    data = json.dumps(answer, allow_nan=False).encode()
    while data:
        data = data[os.write(out, data) :]
    os._exit(0)


def main() -> None:
    _prctl("parent", _PR_SET_PDEATHSIG, signal.SIGKILL)
    given = json.loads(sys.stdin.buffer.readline())
    out, null = os.dup(1), os.open(os.devnull, os.O_RDWR)
    for fd in (0, 1, 2):
        os.dup2(null, fd)
    os.close(null)
    os.environ.clear()  # the interpreter puts its locale there
    try:
        code = compile(given["code"], given["file"], "exec", dont_inherit=True)
    except (SyntaxError, ValueError) as error:
        _say(out, {"error": type(error).__name__, "line": getattr(error, "lineno", 0) or 0})
    try:
        _prctl("dumpable", _PR_SET_DUMPABLE, 0)
        _prctl("privileges", _PR_SET_NO_NEW_PRIVS, 1)
        _limit(given["memory_mb"], given["cpu_s"])
        _shut_files()
        _shut_calls()
    except (OSError, KeyError, ValueError) as error:
        _say(out, {"refused": str(error)})
    os.write(out, b"\n")
    try:
        module: dict[str, Any] = {"__name__": "tool", "__file__": given["file"]}
        exec(code, module)
        result = module["run"](**given["arguments"])
        json.dumps(result, allow_nan=False)
    except BaseException as error:  # noqa: BLE001  whatever it is, it is the tool's
        trace, line = error.__traceback__, 0
        while trace is not None:  # the tool's own line, not that of a library
            line = trace.tb_lineno if trace.tb_frame.f_code.co_filename == given["file"] else line
            trace = trace.tb_next
        del trace
        _say(out, {"error": type(error).__name__, "line": line})
    _say(out, {"result": result})


if __name__ == "__main__":
    main()
