-- $1 default currency.
INSERT INTO clients (client_id, name, email, date_of_birth, country, account_type, opening_balance, position,
                     account_open_date, phone_number, address, risk_tolerance, currency, suspended_at,
                     telegram_chat_id)
SELECT client_id, name, email, date_of_birth, country, account_type, coalesce(opening_balance, 0),
       coalesce(opening_balance, 0), account_open_date, phone_number, address, risk_tolerance,
       coalesce(currency, $1), CASE WHEN suspended THEN now() END, telegram_chat_id
FROM incoming_clients ORDER BY client_id
