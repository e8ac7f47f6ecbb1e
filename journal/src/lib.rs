//! The durable segment log: the agent's spool and the collector's journal are both one of these.
