DROP TRIGGER announce_alert ON alerts;
DROP TRIGGER announce_discarded_run ON runs;
DROP TRIGGER deliveries_do_not_wait_for_pruned_runs ON runs;
DROP TRIGGER deliveries_follow_their_run ON runs;
DROP FUNCTION announce_alert, announce_discarded_run, deliveries_follow_their_run;
DROP TABLE announcements, event_subscriptions, client_events, notification_optouts, circuits, delivery_attempts,
    deliveries, webhook_endpoints, notifications;
DROP FUNCTION notifications_follow_deliveries, is_event_wanted, quiet_until;
