-- Where a partition stands, and that this server is its primary: the check before it sees to that.
--
-- Gives {epoch, counter}.
return {epoch, counter}
