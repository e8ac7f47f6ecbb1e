//! What each kind of destination wants: one table.
