//! Whether those whom a group has answered are waited for, because they may come again at once.
//!
//! The one thing to know: only numbers are looked at here, no clock. For how long nobody may come is the writer's to say; a
//! wait that was in vain makes the next ones rarer, so that callers who come independently of each other pay little for it.

use tokio::sync::oneshot;

use super::writer::MEMBERS_MAX;

/// The wait is left out for two to the power of so many groups at the most after it was in vain again and again.
const VAIN_MAX: u32 = 3;

/// What one realm knows of its callers.
#[derive(Debug, Default)]
pub(super) struct Reunion {
    /// Set while they are waited for: how many are to be in line, and where that is told.
    awaited: Option<(usize, oneshot::Sender<()>)>,
    /// How often in turn they did not come.
    vain: u32,
    /// For how many groups nobody is to be waited for.
    spared: u32,
}

impl Reunion {
    /// Whether somebody waits at present.
    pub(super) const fn is_awaited(&self) -> bool {
        self.awaited.is_some()
    }

    /// After a group of which so many were `answered`, with so many in line: whether they are worth waiting for, then what
    /// tells that they are back.
    ///
    /// Callers who come again as soon as they are answered make a group that is twice as large, for which those who are in
    /// line already wait less than a transaction takes. Where callers come independently of each other that is not so; it
    /// is noticed by who came, and tried more and more rarely.
    pub(super) fn begin(
        &mut self,
        in_line: usize,
        answered: usize,
    ) -> Option<oneshot::Receiver<()>> {
        let wanted = in_line + answered;
        // One who comes alone is as well served by a group of his own.
        if answered < 2 || answered < in_line || wanted > MEMBERS_MAX || self.is_awaited() {
            return None;
        }
        if self.spared > 0 {
            self.spared -= 1;
            return None;
        }
        let (told, complete) = oneshot::channel();
        self.awaited = Some((wanted, told));
        Some(complete)
    }

    /// Somebody has come: so many are in line now.
    pub(super) fn look(&mut self, in_line: usize) {
        if let Some((_, told)) = self.awaited.take_if(|(wanted, _)| in_line >= *wanted) {
            // Who waited may have gone on just now.
            let _ = told.send(());
        }
    }

    /// Ends the wait: so many had been answered, and so many have come since.
    pub(super) fn end(&mut self, answered: usize, came: usize) {
        self.awaited = None;
        if came * 2 < answered {
            self.vain = (self.vain + 1).min(VAIN_MAX);
            self.spared = 1 << self.vain;
        } else {
            self.vain = 0;
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn the_wait_ends_when_all_are_back() {
        let mut reunion = Reunion::default();
        // Eight were answered while eight others came: sixteen make one group instead of two halves.
        let mut complete = reunion.begin(8, 8).unwrap();
        assert!(reunion.is_awaited());
        for in_line in 9..16 {
            reunion.look(in_line);
            assert!(complete.try_recv().is_err(), "{in_line}");
        }
        reunion.look(16);
        complete.try_recv().unwrap();
        assert!(!reunion.is_awaited());
    }

    #[test]
    fn nobody_is_waited_for_where_it_brings_little() {
        let mut reunion = Reunion::default();
        assert!(reunion.begin(0, 0).is_none());
        assert!(reunion.begin(0, 1).is_none(), "one caller alone");
        assert!(reunion.begin(9, 8).is_none(), "most are in line already");
        assert!(reunion.begin(MEMBERS_MAX - 300, 301).is_none(), "no room");
        assert!(reunion.begin(8, 8).is_some());
        assert!(reunion.begin(8, 8).is_none(), "another runner waits");
    }

    #[test]
    fn those_who_do_not_come_again_are_tried_more_and_more_rarely() {
        let mut reunion = Reunion::default();
        let mut spared = Vec::new();
        for _ in 0..5 {
            let mut groups = 0;
            while reunion.begin(8, 8).is_none() {
                groups += 1;
            }
            spared.push(groups);
            reunion.end(8, 3);
        }
        assert_eq!(spared, [0, 2, 4, 8, 8]);
        while reunion.begin(8, 8).is_none() {}
        reunion.end(8, 4);
        assert!(reunion.begin(8, 8).is_some(), "half of them is enough");
    }
}
