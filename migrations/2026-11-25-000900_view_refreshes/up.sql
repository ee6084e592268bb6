-- As of when a materialized view is, and whether somebody has asked for a refresh since the last one began.
-- Whoever asks marks the row before looking for the run that stands for it; the refresh looks at the mark in
-- the transaction that would end its run, so no asking is lost, and any number of them that come while one
-- runs are served by one more (test: a_refresh_that_runs_and_ten_asked_for_make_one_more).
CREATE TABLE view_refreshes (
    name          text PRIMARY KEY,
    -- The beginning of the refresh: what had been committed by then is in the view. NULL: never; it is empty.
    refreshed_at  timestamptz,
    wanted        boolean NOT NULL DEFAULT false
);
INSERT INTO view_refreshes (name) VALUES ('client_transaction_summary');
