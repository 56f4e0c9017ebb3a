//! Ids, key groups, checkpoint log rules and the coordinator: pure logic, no I/O.
