-- What the file leaves empty stays. Another opening balance moves the position by the difference.
WITH updated AS (
    UPDATE clients c SET
        name              = coalesce(i.name, c.name),
        email             = coalesce(i.email, c.email),
        date_of_birth     = coalesce(i.date_of_birth, c.date_of_birth),
        country           = coalesce(i.country, c.country),
        account_type      = coalesce(i.account_type, c.account_type),
        position          = c.position + coalesce(i.opening_balance, c.opening_balance) - c.opening_balance,
        opening_balance   = coalesce(i.opening_balance, c.opening_balance),
        account_open_date = coalesce(i.account_open_date, c.account_open_date),
        phone_number      = coalesce(i.phone_number, c.phone_number),
        telegram_chat_id  = coalesce(i.telegram_chat_id, c.telegram_chat_id),
        address           = coalesce(i.address, c.address),
        risk_tolerance    = coalesce(i.risk_tolerance, c.risk_tolerance),
        currency          = coalesce(i.currency, c.currency),
        suspended_at      = CASE i.suspended WHEN true THEN coalesce(c.suspended_at, now()) WHEN false THEN NULL
                                ELSE c.suspended_at END,
        stub              = false
    FROM incoming_clients i WHERE c.client_id = i.client_id
    RETURNING c.client_id
)
DELETE FROM incoming_clients i USING updated u WHERE i.client_id = u.client_id
