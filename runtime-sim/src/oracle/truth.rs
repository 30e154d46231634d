//! What an oracle knows of a world besides what servers tell it.

use circuit_core::{Epoch, Instant, ServerId, node::Node};

use crate::{ServerIndex, Sim};

/// The truth of a world. A node can be looked at whenever its server has just
/// acted; in some worlds at no other time.
pub trait Truth {
    /// What time it is.
    fn now(&self) -> Instant;
    /// How many servers there are.
    fn servers(&self) -> usize;
    /// Counts the lives of a server, whatever its identity.
    fn life(&self, server: ServerIndex) -> u32;
    /// The id of a server, or the last that it had.
    fn server_id(&self, server: ServerIndex) -> ServerId;
    /// Whether a server is alive.
    fn is_alive(&self, server: ServerIndex) -> bool;
    /// A server's state, if that can be looked at now.
    fn node(&self, server: ServerIndex) -> Option<&Node>;
    /// A hash of whom a server sees, and what of membership is under
    /// way there ([`circuit_core::membership::Membership::unsettled`]), if it is alive.
    fn knows(&self, server: ServerIndex) -> Option<(u128, [usize; 4])>;
    /// Whether this is a server's present incarnation, and it has not left.
    fn is_here(&self, server: ServerIndex, id: ServerId, start: u32) -> bool;
    /// The last epoch that the server of an id had, if there was one.
    fn last_epoch(&self, id: ServerId) -> Option<Epoch>;
    /// Whether the server of an id ever had an epoch.
    fn was_issued(&self, id: ServerId, epoch: Epoch) -> bool;
    /// Whether a start of a server was told to leave.
    fn was_told_to_leave(&self, id: ServerId, start: u32) -> bool;
    /// How somebody's view differs from who is alive.
    fn differ(&self) -> Option<String>;
    /// An invariant does not hold. Only the first is kept.
    fn fail(&mut self, what: String);
}

impl Truth for Sim {
    fn now(&self) -> Instant {
        self.now()
    }

    fn servers(&self) -> usize {
        self.settings().servers
    }

    fn life(&self, server: ServerIndex) -> u32 {
        self.life(server)
    }

    fn server_id(&self, server: ServerIndex) -> ServerId {
        self.server_id(server)
    }

    fn is_alive(&self, server: ServerIndex) -> bool {
        self.node(server).is_some()
    }

    fn node(&self, server: ServerIndex) -> Option<&Node> {
        self.node(server)
    }

    fn knows(&self, server: ServerIndex) -> Option<(u128, [usize; 4])> {
        let membership = self.node(server)?.membership();
        Some((membership.view().hash(), membership.unsettled()))
    }

    fn is_here(&self, server: ServerIndex, id: ServerId, start: u32) -> bool {
        self.node(server).is_some_and(|node| {
            let here = node.membership().view().live(id).is_some();
            node.id() == id && here && node.membership().epoch().start == start
        })
    }

    fn last_epoch(&self, id: ServerId) -> Option<Epoch> {
        self.last_epoch(id)
    }

    fn was_issued(&self, id: ServerId, epoch: Epoch) -> bool {
        self.was_issued(id, epoch)
    }

    fn was_told_to_leave(&self, id: ServerId, start: u32) -> bool {
        self.was_told_to_leave(id, start)
    }

    fn differ(&self) -> Option<String> {
        self.differ()
    }

    fn fail(&mut self, what: String) {
        self.fail(what);
    }
}
