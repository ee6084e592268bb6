//! The tables as diesel sees them. The migrations are the source; keep this in step with them.

diesel::table! {
    settings (singleton) {
        singleton -> Bool,
        reporting_zone -> Text,
        default_currency -> Text,
        signing_key -> Bytea,
        created_at -> Timestamptz,
    }
}

diesel::table! {
    users (id) {
        id -> Uuid,
        username -> Text,
        email -> Nullable<Text>,
        password_hash -> Text,
        role -> Text,
        disabled_at -> Nullable<Timestamptz>,
        created_at -> Timestamptz,
    }
}

diesel::table! {
    sessions (token_hash) {
        token_hash -> Bytea,
        user_id -> Uuid,
        csrf_token -> Text,
        created_at -> Timestamptz,
        expires_at -> Timestamptz,
    }
}

diesel::table! {
    refresh_tokens (jti) {
        jti -> Uuid,
        family -> Uuid,
        user_id -> Uuid,
        created_at -> Timestamptz,
        expires_at -> Timestamptz,
        used_at -> Nullable<Timestamptz>,
        revoked_at -> Nullable<Timestamptz>,
    }
}

diesel::table! {
    api_keys (id) {
        id -> Uuid,
        name -> Text,
        prefix -> Text,
        key_hash -> Bytea,
        role -> Text,
        created_by -> Text,
        created_at -> Timestamptz,
        expires_at -> Nullable<Timestamptz>,
        revoked_at -> Nullable<Timestamptz>,
    }
}

diesel::table! {
    login_failures (id) {
        id -> BigInt,
        subject -> Text,
        failed_at -> Timestamptz,
    }
}

diesel::table! {
    idempotency_keys (principal, key) {
        principal -> Text,
        key -> Text,
        fingerprint -> Text,
        location -> Text,
        created_at -> Timestamptz,
    }
}

diesel::table! {
    audit_log (id) {
        id -> BigInt,
        at -> Timestamptz,
        actor -> Text,
        action -> Text,
        subject -> Text,
        details -> Jsonb,
    }
}

diesel::table! {
    pauses (target, name) {
        target -> Text,
        name -> Text,
        until -> Nullable<Timestamptz>,
        reason -> Nullable<Text>,
        paused_by -> Text,
        paused_at -> Timestamptz,
    }
}

diesel::table! {
    failures (fingerprint) {
        fingerprint -> Text,
        kind -> Text,
        message -> Text,
        occurrences -> BigInt,
        first_seen -> Timestamptz,
        last_seen -> Timestamptz,
        last_run_id -> Uuid,
    }
}

diesel::table! {
    workers (id) {
        id -> Uuid,
        host -> Text,
        pid -> Integer,
        version -> Text,
        state -> Text,
        started_at -> Timestamptz,
        last_seen -> Timestamptz,
        slots -> Jsonb,
        kinds -> Array<Text>,
        lease_ms -> Integer,
    }
}

diesel::table! {
    runs (id) {
        id -> Uuid,
        kind -> Text,
        queue -> Text,
        args -> Jsonb,
        state -> Text,
        reason -> Nullable<Text>,
        priority -> SmallInt,
        attempt -> Integer,
        max_attempts -> Integer,
        crashes -> SmallInt,
        run_at -> Timestamptz,
        start_by -> Nullable<Timestamptz>,
        claim_token -> Nullable<Uuid>,
        worker_id -> Nullable<Uuid>,
        cancel_requested -> Bool,
        parent_id -> Nullable<Uuid>,
        flow_id -> Uuid,
        blocked_by -> Integer,
        unique_key -> Nullable<Text>,
        unique_states -> Nullable<Array<Text>>,
        unique_held -> Bool,
        progress_done -> BigInt,
        progress_total -> Nullable<BigInt>,
        progress_unit -> Nullable<Text>,
        phase -> Nullable<Text>,
        result -> Nullable<Jsonb>,
        error -> Nullable<Text>,
        fingerprint -> Nullable<Text>,
        created_by -> Text,
        created_at -> Timestamptz,
        started_at -> Nullable<Timestamptz>,
        finished_at -> Nullable<Timestamptz>,
    }
}

diesel::table! {
    run_attempts (run_id, attempt) {
        run_id -> Uuid,
        attempt -> Integer,
        worker_id -> Uuid,
        started_at -> Timestamptz,
        finished_at -> Nullable<Timestamptz>,
        outcome -> Nullable<Text>,
        error -> Nullable<Text>,
        backtrace -> Nullable<Text>,
    }
}

diesel::table! {
    run_logs (id) {
        id -> BigInt,
        run_id -> Uuid,
        attempt -> Integer,
        line -> Integer,
        at -> Timestamptz,
        level -> Text,
        message -> Text,
    }
}

diesel::table! {
    clients (client_id) {
        client_id -> Text,
        username -> Nullable<Text>,
        name -> Nullable<Text>,
        email -> Nullable<Text>,
        date_of_birth -> Nullable<Date>,
        country -> Nullable<Text>,
        account_type -> Nullable<Text>,
        account_open_date -> Nullable<Date>,
        phone_number -> Nullable<Text>,
        telegram_chat_id -> Nullable<Text>,
        webhook_url -> Nullable<Text>,
        address -> Nullable<Text>,
        zone -> Nullable<Text>,
        risk_tolerance -> Nullable<Text>,
        currency -> Text,
        opening_balance -> Numeric,
        position -> Numeric,
        stub -> Bool,
        suspended_at -> Nullable<Timestamptz>,
        created_at -> Timestamptz,
    }
}

diesel::table! {
    transaction_keys (transaction_id) {
        occurred_at -> Timestamptz,
        content_hash -> BigInt,
        pending -> Bool,
        client_id -> Text,
        transaction_id -> Text,
    }
}

diesel::table! {
    transactions (transaction_id) {
        occurred_at -> Timestamptz,
        amount -> Numeric,
        account_amount -> Nullable<Numeric>,
        shares -> Nullable<Numeric>,
        price -> Nullable<Numeric>,
        source_id -> Nullable<Uuid>,
        source_line -> Nullable<Integer>,
        transaction_id -> Text,
        client_id -> Text,
        merchant_id -> Nullable<Text>,
        product_id -> Nullable<Text>,
        kind -> Text,
        ticker -> Nullable<Text>,
        stock_name -> Nullable<Text>,
        currency -> Text,
        status -> Text,
        channel -> Nullable<Text>,
        source -> Text,
    }
}

diesel::table! {
    uploads (id) {
        id -> Uuid,
        kind -> Text,
        filename -> Text,
        size_bytes -> BigInt,
        sha256 -> Bytea,
        storage_key -> Text,
        options -> Jsonb,
        forced -> Bool,
        state -> Text,
        run_id -> Uuid,
        header -> Nullable<Array<Text>>,
        mapping -> Nullable<Jsonb>,
        ignored_columns -> Array<Text>,
        records -> Nullable<BigInt>,
        created_by -> Text,
        created_at -> Timestamptz,
        finished_at -> Nullable<Timestamptz>,
        format -> Nullable<Jsonb>,
        text_key -> Nullable<Text>,
        warnings -> Array<Text>,
        corrects -> Nullable<Uuid>,
        undo_run_id -> Nullable<Uuid>,
        undo_report -> Nullable<Jsonb>,
        files_removed_at -> Nullable<Timestamptz>,
    }
}

diesel::table! {
    upload_chunks (upload_id, chunk) {
        upload_id -> Uuid,
        chunk -> Integer,
        byte_start -> BigInt,
        byte_end -> BigInt,
        first_line -> BigInt,
        records -> BigInt,
        loaded_at -> Nullable<Timestamptz>,
        inserted -> BigInt,
        updated -> BigInt,
        duplicates -> BigInt,
        conflicts -> BigInt,
        rejected -> BigInt,
        first_at -> Nullable<Timestamptz>,
        last_at -> Nullable<Timestamptz>,
        faults -> Nullable<BigInt>,
    }
}

diesel::table! {
    previews (id) {
        id -> Uuid,
        filename -> Text,
        size_bytes -> BigInt,
        sha256 -> Bytea,
        storage_key -> Text,
        upload_id -> Nullable<Uuid>,
        created_by -> Text,
        created_at -> Timestamptz,
    }
}

diesel::table! {
    fx_rates (base, quote, valid_from) {
        base -> Text,
        quote -> Text,
        rate -> Numeric,
        valid_from -> Timestamptz,
        created_by -> Text,
        created_at -> Timestamptz,
    }
}

diesel::table! {
    journals (id) {
        id -> Uuid,
        kind -> Text,
        source_id -> Uuid,
        part -> Int4,
        reversal_of -> Nullable<Uuid>,
        posted_at -> Timestamptz,
    }
}

diesel::table! {
    entries (journal_id, entry) {
        journal_id -> Uuid,
        entry -> Integer,
        amount -> Numeric,
        account -> Text,
        client_id -> Nullable<Text>,
        asset_kind -> Text,
        asset -> Text,
    }
}

diesel::table! {
    upload_rejects (upload_id, line) {
        upload_id -> Uuid,
        line -> BigInt,
        chunk -> Integer,
        column_name -> Nullable<Text>,
        code -> Text,
        message -> Text,
        raw -> Bytea,
    }
}

diesel::table! {
    day_totals (day, currency, kind, status) {
        day -> Date,
        currency -> Text,
        kind -> Text,
        status -> Text,
        count -> BigInt,
        sum -> Numeric,
        min -> Numeric,
        max -> Numeric,
    }
}

diesel::table! {
    merchant_days (merchant_id, day, currency, kind) {
        day -> Date,
        count -> BigInt,
        merchant_id -> Text,
        currency -> Text,
        kind -> Text,
        sum -> Numeric,
        min -> Numeric,
        max -> Numeric,
    }
}

diesel::table! {
    client_totals (client_id, currency) {
        first_at -> Timestamptz,
        last_at -> Timestamptz,
        count -> BigInt,
        client_id -> Text,
        currency -> Text,
        spent -> Numeric,
        gained -> Numeric,
        sum -> Numeric,
        sum_squares -> Numeric,
        min -> Numeric,
        max -> Numeric,
    }
}

diesel::table! {
    client_failures (client_id) {
        first_at -> Timestamptz,
        last_at -> Timestamptz,
        count -> BigInt,
        client_id -> Text,
    }
}

diesel::table! {
    summary_changes (slot) {
        slot -> Integer,
        changes -> BigInt,
        changed_in -> BigInt,
    }
}

diesel::table! {
    schedules (id) {
        id -> Uuid,
        name -> Text,
        description -> Nullable<Text>,
        cron -> Text,
        zone -> Text,
        kind -> Text,
        args -> Jsonb,
        priority -> Nullable<SmallInt>,
        missing -> Text,
        repeated -> Text,
        catch_up -> Text,
        catch_up_limit -> Integer,
        overlap -> Text,
        next_at -> Nullable<Timestamptz>,
        last_at -> Nullable<Timestamptz>,
        last_run_id -> Nullable<Uuid>,
        paused_at -> Nullable<Timestamptz>,
        paused_until -> Nullable<Timestamptz>,
        paused_by -> Nullable<Text>,
        pause_reason -> Nullable<Text>,
        built_in -> Bool,
        version -> Integer,
        created_by -> Text,
        created_at -> Timestamptz,
        updated_at -> Timestamptz,
    }
}

diesel::table! {
    schedule_ticks (schedule_id, nominal_at) {
        schedule_id -> Uuid,
        nominal_at -> Timestamptz,
        outcome -> Text,
        cause -> Text,
        reason -> Nullable<Text>,
        run_id -> Nullable<Uuid>,
        run_ended -> Nullable<Text>,
        backfill_id -> Nullable<Uuid>,
        fired_at -> Timestamptz,
    }
}

diesel::table! {
    alerts (id) {
        id -> BigInt,
        kind -> Text,
        key -> Text,
        subject -> Text,
        message -> Text,
        raised_at -> Timestamptz,
        resolved_at -> Nullable<Timestamptz>,
        acknowledged_at -> Nullable<Timestamptz>,
        acknowledged_by -> Nullable<Text>,
    }
}

diesel::table! {
    stocks (ticker) {
        ticker -> Text,
        id -> Integer,
        name -> Nullable<Text>,
        currency -> Text,
        open_price -> Numeric,
        close_price -> Numeric,
        high -> Numeric,
        low -> Numeric,
        volume -> BigInt,
        listed_volume -> BigInt,
        created_by -> Text,
        created_at -> Timestamptz,
    }
}

diesel::table! {
    trades (id) {
        created_at -> Timestamptz,
        decided_at -> Nullable<Timestamptz>,
        volume -> BigInt,
        id -> Uuid,
        run_id -> Uuid,
        reversal_of -> Nullable<Uuid>,
        client_id -> Text,
        ticker -> Text,
        side -> Text,
        state -> Text,
        reason -> Nullable<Text>,
        created_by -> Text,
        price -> Nullable<Numeric>,
        amount -> Nullable<Numeric>,
        currency -> Nullable<Text>,
        account_amount -> Nullable<Numeric>,
        account_currency -> Nullable<Text>,
        cost -> Nullable<Numeric>,
        realised -> Nullable<Numeric>,
    }
}

diesel::table! {
    holdings (client_id, ticker) {
        shares -> BigInt,
        client_id -> Text,
        ticker -> Text,
        cost -> Numeric,
        realised -> Numeric,
    }
}

diesel::table! {
    cache_trust (singleton) {
        singleton -> Bool,
        epoch -> Uuid,
        distrust_until -> Timestamptz,
    }
}

diesel::table! {
    transaction_deletions (id) {
        id -> Uuid,
        run_id -> Uuid,
        asked_by -> Text,
        asked_at -> Timestamptz,
        done_at -> Nullable<Timestamptz>,
    }
}

diesel::table! {
    view_refreshes (name) {
        name -> Text,
        refreshed_at -> Nullable<Timestamptz>,
        wanted -> Bool,
    }
}

diesel::table! {
    client_transaction_summary (client_id, currency) {
        client_id -> Text,
        currency -> Text,
        total_transactions -> BigInt,
        buys -> BigInt,
        sells -> BigInt,
        total_spent -> Numeric,
        total_gained -> Numeric,
    }
}

diesel::table! {
    notifications (id) {
        id -> Uuid,
        event -> Nullable<Text>,
        client_id -> Nullable<Text>,
        title -> Text,
        body -> Text,
        html -> Nullable<Text>,
        payload -> Jsonb,
        state -> Text,
        send_at -> Nullable<Timestamptz>,
        dedupe -> Nullable<Text>,
        created_by -> Text,
        created_at -> Timestamptz,
    }
}

diesel::table! {
    webhook_endpoints (id) {
        id -> Uuid,
        url -> Text,
        client_id -> Nullable<Text>,
        description -> Text,
        events -> Array<Text>,
        secret -> Text,
        previous_secret -> Nullable<Text>,
        previous_until -> Nullable<Timestamptz>,
        disabled_at -> Nullable<Timestamptz>,
        disabled_reason -> Nullable<Text>,
        created_by -> Text,
        created_at -> Timestamptz,
    }
}

diesel::table! {
    deliveries (id) {
        id -> Uuid,
        notification_id -> Uuid,
        run_id -> Nullable<Uuid>,
        endpoint_id -> Nullable<Uuid>,
        last_attempt_at -> Nullable<Timestamptz>,
        ended_at -> Nullable<Timestamptz>,
        permit_at -> Nullable<Timestamptz>,
        attempts -> Integer,
        channel -> Text,
        client_id -> Nullable<Text>,
        address -> Text,
        state -> Text,
        provider -> Nullable<Text>,
        error_message -> Nullable<Text>,
    }
}

diesel::table! {
    delivery_attempts (delivery_id, number) {
        delivery_id -> Uuid,
        started_at -> Timestamptz,
        number -> Integer,
        run_attempt -> Integer,
        duration_ms -> Nullable<Integer>,
        status_code -> Nullable<Integer>,
        provider -> Text,
        outcome -> Text,
        response -> Nullable<Text>,
        error -> Nullable<Text>,
    }
}

diesel::table! {
    circuits (name) {
        name -> Text,
        failures -> Integer,
        openings -> Integer,
        state -> Text,
        forced -> Nullable<Text>,
        probe_at -> Nullable<Timestamptz>,
        hold_until -> Nullable<Timestamptz>,
        next_permit -> Nullable<Timestamptz>,
        changed_at -> Timestamptz,
        changed_by -> Nullable<Text>,
        last_error -> Nullable<Text>,
    }
}

diesel::table! {
    notification_optouts (client_id, channel) {
        client_id -> Text,
        channel -> Text,
        created_by -> Text,
        created_at -> Timestamptz,
    }
}

diesel::table! {
    client_events (event) {
        event -> Text,
        channels -> Array<Text>,
        updated_by -> Text,
        updated_at -> Timestamptz,
    }
}

diesel::table! {
    event_subscriptions (id) {
        id -> BigInt,
        event -> Text,
        channel -> Text,
        address -> Text,
        created_by -> Text,
        created_at -> Timestamptz,
    }
}

diesel::table! {
    announcements (id) {
        id -> BigInt,
        event -> Text,
        subject -> Text,
        data -> Jsonb,
        created_at -> Timestamptz,
        due_at -> Timestamptz,
    }
}

diesel::allow_tables_to_appear_in_same_query!(
    settings,
    users,
    sessions,
    refresh_tokens,
    api_keys,
    login_failures,
    idempotency_keys,
    audit_log,
    failures,
    pauses,
    workers,
    runs,
    run_attempts,
    run_logs,
    clients,
    transaction_keys,
    transactions,
    uploads,
    upload_chunks,
    upload_rejects,
    previews,
    fx_rates,
    journals,
    entries,
    day_totals,
    merchant_days,
    client_totals,
    client_failures,
    summary_changes,
    schedules,
    schedule_ticks,
    alerts,
    stocks,
    trades,
    holdings,
    cache_trust,
    transaction_deletions,
    view_refreshes,
    client_transaction_summary,
    notifications,
    webhook_endpoints,
    deliveries,
    delivery_attempts,
    circuits,
    notification_optouts,
    client_events,
    event_subscriptions,
    announcements,
);
