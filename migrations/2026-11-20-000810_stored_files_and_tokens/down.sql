DROP TABLE refresh_tokens;
DROP INDEX uploads_with_files, previews_waiting, previews_storage_key, uploads_text_key, uploads_storage_key;
