//! The oracle for user-mode instructions: random sequences of them run on the host processor and in the machine's, and everything that software
//! can observe is compared: registers, flags, memory, and the exception with its error code, CR2 and RIP.
//!
//! | module | what |
//! | --- | --- |
//! | `layout` | addresses that host and machine share |
//! | `case`, `values`, `templates`, `random` | what a run begins with and ends with, and where the values come from |
//! | `generate` | instructions of every implemented user-mode form, with operands that make them do something |
//! | `native` | \[unsafe\] execution on the host, in process, without fork |
//! | `machine` | execution in the machine's processor, through blocks and step by step |
//! | `compare`, `deviations` | what must be equal; `deviations.toml` lists what the manual leaves undefined |
//! | `report` | a mismatch for people, and its reduction to the instruction and the inputs that matter |

pub mod case;
pub mod compare;
pub mod deviations;
pub mod generate;
pub mod layout;
pub mod machine;
pub mod native;
pub mod random;
pub mod report;
pub mod templates;
pub mod values;
