-- Known clients of whom the file says nothing new.
DELETE FROM incoming_clients i USING clients c
WHERE c.client_id = i.client_id AND NOT c.stub
  AND (coalesce(i.name, c.name), coalesce(i.email, c.email), coalesce(i.date_of_birth, c.date_of_birth),
       coalesce(i.country, c.country), coalesce(i.account_type, c.account_type),
       coalesce(i.opening_balance, c.opening_balance), coalesce(i.account_open_date, c.account_open_date),
       coalesce(i.phone_number, c.phone_number), coalesce(i.address, c.address),
       coalesce(i.risk_tolerance, c.risk_tolerance), coalesce(i.suspended, c.suspended_at IS NOT NULL),
       coalesce(i.telegram_chat_id, c.telegram_chat_id))
      IS NOT DISTINCT FROM
      (c.name, c.email, c.date_of_birth, c.country, c.account_type, c.opening_balance, c.account_open_date,
       c.phone_number, c.address, c.risk_tolerance, c.suspended_at IS NOT NULL,
       c.telegram_chat_id)
