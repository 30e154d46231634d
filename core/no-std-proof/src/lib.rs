//! The core, linked without std. That this crate builds is the proof.
#![no_std]

use core::alloc::{GlobalAlloc, Layout};

use circuit_core::{
    Instant, Rng,
    session::{ClusterKey, Credentials, Role, Session, StaticKey},
};

struct NoMemory;

// SAFETY: an allocator may always say that there is no memory.
unsafe impl GlobalAlloc for NoMemory {
    unsafe fn alloc(&self, _: Layout) -> *mut u8 {
        core::ptr::null_mut()
    }
    unsafe fn dealloc(&self, _: *mut u8, _: Layout) {}
}

#[global_allocator]
static ALLOCATOR: NoMemory = NoMemory;

#[panic_handler]
fn panic(_: &core::panic::PanicInfo<'_>) -> ! {
    loop {}
}

/// Reaches far enough into the core that nothing of it is left out.
#[unsafe(no_mangle)]
pub extern "C" fn proof() -> usize {
    let rng = Rng::from_number(1);
    let credentials = Credentials::new(&ClusterKey::public(), StaticKey::generate(&mut rng.fork("key")));
    let mut session = Session::dial(&credentials, Role::Client, None, &rng, Instant::ZERO);
    session.transmit().len()
}
