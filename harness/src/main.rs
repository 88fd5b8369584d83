//! Starts a private PostgreSQL, prints the URL of an empty database of it, and stops it when the input closes.
//!
//! The one thing to know: it is for scripts. Whoever starts it holds the input open; in whatever way that ends, the server
//! ends too, and leaves nothing.

use std::io::{self, Write as _};

use postgres_server::{Options, Server};

fn main() -> io::Result<()> {
    let server = Server::start(&Options {
        fsync: false,
        ..Options::default()
    });
    let database = server.create_database();
    let mut output = io::stdout();
    writeln!(output, "{}", server.url(&database))?;
    output.flush()?;
    io::copy(&mut io::stdin(), &mut io::sink())?;
    drop(server);
    Ok(())
}
