//! Several nodes on one PostgreSQL: a change is in force on all of them before its call returns.
//!
//! The one thing to know: the nodes are the real program, three processes on one server, and the counts that matter are 0:
//! answers from before a returned write, and fresh tokens that another node does not know.

mod clocks;
mod crash;
mod faults;
mod force;
mod full_disk;
mod goodbye;
mod house;
mod proxy;
mod races;
mod refused;
mod rotation;
mod starts;
mod upgrade;
