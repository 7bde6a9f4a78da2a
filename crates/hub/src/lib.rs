//! Who listens to what on this node: emitters by topic and by user, replay then live, bounded outboxes, fan-out.
