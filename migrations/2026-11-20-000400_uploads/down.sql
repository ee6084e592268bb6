DROP TRIGGER uploads_follow_their_flow ON runs;
DROP FUNCTION uploads_follow_their_flow;
DROP TABLE upload_rejects, upload_chunks, uploads;
