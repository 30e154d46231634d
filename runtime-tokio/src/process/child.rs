//! The moment between a server and a program: a child that shares the server's
//! memory until it becomes the program.
//!
//! A fork would copy the server's page tables, and have every page that the
//! server writes to copied after: with a gigabyte in use that is a pause of tens
//! of milliseconds for each program. So the child is made as `posix_spawn` makes
//! one: it borrows the server's memory while the thread that made it sleeps.
//! What `posix_spawn` cannot say is that the program should die with the server,
//! so the child is written out here. It makes system calls, and nothing else: it
//! does not allocate, lock, or unwind.

use std::{
    ffi::{CString, c_char, c_int, c_void},
    io,
    mem::MaybeUninit,
    os::fd::{AsRawFd, FromRawFd, OwnedFd, RawFd},
    ptr,
};

use super::descriptors::of_programs;

/// Room for the child until it becomes the program.
const STACK: usize = 64 * 1024;
/// The first descriptor after the standard three.
const FIRST_FREE: RawFd = 3;

/// A program to be started, with all that it is given.
pub(super) struct Child {
    /// Where it may be; the first that is there is run.
    pub(super) programs: Vec<CString>,
    /// Its arguments, beginning with its name.
    pub(super) args: Vec<CString>,
    /// Its environment, as `NAME=VALUE`.
    pub(super) env: Vec<CString>,
    /// Where it runs, if not where the server does.
    pub(super) dir: Option<CString>,
    /// Its standard input, output and error.
    pub(super) stdio: [OwnedFd; 3],
}

/// Where children are made. It belongs to one thread, and programs that were
/// started there die when that thread does.
pub(super) struct Nursery {
    stack: Box<[MaybeUninit<u8>]>,
    server: c_int,
}

/// What the child looks at while it shares the server's memory.
struct Plan {
    programs: Vec<*const c_char>,
    args: Vec<*const c_char>,
    env: Vec<*const c_char>,
    dir: *const c_char,
    stdio: [RawFd; 3],
    server: c_int,
    /// How many descriptors it may have open, if not as many as the server.
    descriptors: Option<libc::rlimit>,
    /// What went wrong, if it did not become the program.
    errno: c_int,
}

impl Nursery {
    /// A place for children, on the thread that calls this. The thread handles
    /// no signals from here on: no handler of the server's may run in a child.
    ///
    /// # Errors
    /// The signals cannot be blocked.
    pub(super) fn new() -> io::Result<Self> {
        let mut all = MaybeUninit::uninit();
        // SAFETY: the set is filled before it is used.
        let failed = unsafe {
            libc::sigfillset(all.as_mut_ptr());
            libc::pthread_sigmask(libc::SIG_SETMASK, all.as_ptr(), ptr::null_mut())
        };
        if failed != 0 {
            return Err(io::Error::from_raw_os_error(failed));
        }
        // SAFETY: it cannot fail.
        let server = unsafe { libc::getpid() };
        Ok(Self { stack: Box::new_uninit_slice(STACK), server })
    }

    /// Starts a program, in a session of its own: its number and its pidfd.
    ///
    /// # Errors
    /// Those of the operating system.
    pub(super) fn start(&mut self, child: Child) -> io::Result<(u32, OwnedFd)> {
        let [stdin, stdout, stderr] = child.stdio;
        let stdio = [out_of_the_way(stdin)?, out_of_the_way(stdout)?, out_of_the_way(stderr)?];
        let mut plan = Plan {
            programs: child.programs.iter().map(|program| program.as_ptr()).collect(),
            args: terminated(&child.args),
            env: terminated(&child.env),
            dir: child.dir.as_ref().map_or(ptr::null(), |dir| dir.as_ptr()),
            stdio: stdio.each_ref().map(AsRawFd::as_raw_fd),
            server: self.server,
            descriptors: of_programs(),
            errno: 0,
        };
        let flags = libc::CLONE_VM | libc::CLONE_VFORK | libc::CLONE_PIDFD | libc::SIGCHLD;
        let mut pidfd: RawFd = -1;
        let end = self.stack.as_mut_ptr_range().end;
        let top = end.wrapping_sub(end.addr() % 16);
        // SAFETY: the stack and the plan are the child's alone until this
        // returns, which is when the child has become the program or has ended.
        // All that the plan points to lives as long. Signals are blocked.
        let pid = unsafe { libc::clone(child_main, top.cast(), flags, (&raw mut plan).cast(), &raw mut pidfd) };
        if pid == -1 {
            return Err(io::Error::last_os_error());
        }
        // SAFETY: the kernel has just opened it for us.
        let pidfd = unsafe { OwnedFd::from_raw_fd(pidfd) };
        if plan.errno == 0 {
            return Ok((pid.unsigned_abs(), pidfd));
        }
        // SAFETY: it has ended and was not waited for, so it is still ours.
        unsafe { libc::waitpid(pid, ptr::null_mut(), 0) };
        Err(io::Error::from_raw_os_error(plan.errno))
    }
}

/// The same descriptor, under a number that none of the standard three has: a
/// server may have been started without them.
fn out_of_the_way(fd: OwnedFd) -> io::Result<OwnedFd> {
    if fd.as_raw_fd() >= FIRST_FREE {
        return Ok(fd);
    }
    Ok(rustix::io::fcntl_dupfd_cloexec(&fd, FIRST_FREE)?)
}

fn terminated(texts: &[CString]) -> Vec<*const c_char> {
    texts.iter().map(|text| text.as_ptr()).chain([ptr::null()]).collect()
}

/// The child, from its first instruction to the program's.
extern "C" fn child_main(plan: *mut c_void) -> c_int {
    // SAFETY: this is the plan that the child was made with, and the thread that
    // made it sleeps.
    let plan = unsafe { &mut *plan.cast::<Plan>() };
    // SAFETY: between here and the program only system calls are made.
    unsafe { become_program(plan) };
    127
}

/// Returns only if that failed, and then notes why.
unsafe fn become_program(plan: &mut Plan) {
    // SAFETY: all pointers in the plan are good, and its lists terminated.
    unsafe {
        let mut done = libc::setsid() != -1 && libc::prctl(libc::PR_SET_PDEATHSIG, libc::SIGKILL) != -1;
        if libc::getppid() != plan.server {
            plan.errno = libc::ESRCH; // the server has died in the meantime
            return;
        }
        for (target, fd) in (0..).zip(plan.stdio) {
            done = done && libc::dup2(fd, target) != -1;
        }
        done = done && (plan.dir.is_null() || libc::chdir(plan.dir) != -1);
        if let Some(descriptors) = &plan.descriptors {
            done = done && libc::setrlimit(libc::RLIMIT_NOFILE, descriptors) != -1;
        }
        if done {
            // Nothing else that the server has open is the program's, whoever
            // opened it and however. Old kernels cannot do this: then only what
            // was opened as it should be is closed.
            libc::syscall(libc::SYS_close_range, FIRST_FREE, libc::c_uint::MAX, libc::CLOSE_RANGE_CLOEXEC);
            forget_signals();
            plan.errno = run_first(plan);
        } else {
            plan.errno = errno();
        }
    }
}

/// Tries the files that may be meant; returns only if none can be run. One that
/// is there but may not be run is what is told of, then.
unsafe fn run_first(plan: &Plan) -> c_int {
    let mut why = libc::ENOENT;
    for &program in &plan.programs {
        // SAFETY: as the caller has promised.
        unsafe { libc::execve(program, plan.args.as_ptr(), plan.env.as_ptr()) };
        match errno() {
            libc::ENOENT | libc::ENOTDIR => {}
            libc::EACCES => why = libc::EACCES,
            other => return other,
        }
    }
    why
}

/// Gives every signal its ordinary meaning, and blocks none. Those that whoever
/// started the server ignored are no business of the program's either.
unsafe fn forget_signals() {
    // SAFETY: all zero is the ordinary meaning of a signal and an empty mask.
    unsafe {
        let ordinary: libc::sigaction = std::mem::zeroed();
        for signal in 1..=libc::SIGRTMAX() {
            libc::sigaction(signal, &raw const ordinary, ptr::null_mut()); // some have no other
        }
        let mut none = std::mem::zeroed();
        libc::sigemptyset(&raw mut none);
        libc::sigprocmask(libc::SIG_SETMASK, &raw const none, ptr::null_mut());
    }
}

fn errno() -> c_int {
    // Reads a number, and allocates nothing.
    io::Error::last_os_error().raw_os_error().unwrap_or(libc::EINVAL)
}
