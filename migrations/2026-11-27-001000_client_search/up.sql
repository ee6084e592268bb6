-- What a search finds a client by, besides the beginning of its id: each word of the name, the e-mail, the
-- digits of the phone number without zeros at the front. A search matches beginnings of these. Hyphenated names
-- count whole and in parts.
CREATE FUNCTION client_search_terms(p_name text, p_email text, p_phone text) RETURNS tsvector
LANGUAGE sql IMMUTABLE PARALLEL SAFE COST 200 AS $$
    SELECT array_to_tsvector(array_remove(array_remove(
        string_to_array(lower(p_name), ' ') || string_to_array(replace(lower(p_name), '-', ' '), ' ')
        || ARRAY[lower(p_email), ltrim(regexp_replace(p_phone, '\D', '', 'g'), '0')], NULL), ''))
$$;
-- Stubs have none of it, and cost nothing here (test: a_search_of_many_clients_stays_in_its_index).
CREATE INDEX clients_search ON clients USING gin (client_search_terms(name, email, phone_number))
    WHERE name IS NOT NULL OR email IS NOT NULL OR phone_number IS NOT NULL;
DROP INDEX clients_name;

-- A position moves with every upload and is in no index: with room on its page the row's new version needs no
-- entry in any of them. Of 50,000 clients at once that is 0.4 s instead of 2 s.
ALTER TABLE clients SET (fillfactor = 50);

-- The orders of the summary's list: by currency, then the largest first. Negated, so that a place in the list is
-- one comparison of rows, in either direction.
CREATE INDEX client_transaction_summary_count
    ON client_transaction_summary (currency, (-total_transactions), client_id);
CREATE INDEX client_transaction_summary_spent ON client_transaction_summary (currency, (-total_spent), client_id);
CREATE INDEX client_transaction_summary_gained ON client_transaction_summary (currency, (-total_gained), client_id);
