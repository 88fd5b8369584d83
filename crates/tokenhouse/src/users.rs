//! The operating system's users by name, for the events of what somebody on this machine has done.
//!
//! The one thing to know: only `/etc/passwd` is read; a user of a directory service appears as `uid:1000`. The name says
//! who it was, it permits nothing.

/// The name of a user.
pub(crate) fn name_of(uid: u32) -> String {
    let passwd = std::fs::read_to_string("/etc/passwd").unwrap_or_default();
    find(&passwd, uid).map_or_else(|| format!("uid:{uid}"), ToOwned::to_owned)
}

/// The user that this process runs as.
pub(crate) fn own() -> u32 {
    rustix::process::geteuid().as_raw()
}

fn find(passwd: &str, uid: u32) -> Option<&str> {
    passwd.lines().find_map(|line| {
        let mut fields = line.split(':');
        let name = fields.next()?;
        (fields.nth(1)?.parse::<u32>() == Ok(uid)).then_some(name)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_found_by_their_number() {
        let passwd = "root:x:0:0:root:/root:/bin/sh\nbroken\nann:x:1000:100::/home/ann:/bin/sh\n";
        assert_eq!(find(passwd, 1000), Some("ann"));
        assert_eq!(find(passwd, 100), None);
        assert_eq!(find("", 0), None);
    }
}
