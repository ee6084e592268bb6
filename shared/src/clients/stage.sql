CREATE TEMP TABLE incoming_clients (
    row integer, client_id text COLLATE "C", name text, email text, date_of_birth date, country text,
    account_type text, opening_balance numeric(20,4), account_open_date date, phone_number text,
    address text, risk_tolerance text, currency text, suspended boolean,
    telegram_chat_id text
) ON COMMIT DROP
