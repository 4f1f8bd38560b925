-- What must never be, refused by the database itself. The same rules stand in the file for SQLite.

create function muster_refuse() returns trigger language plpgsql as $$
begin
    raise exception 'rail: %', tg_argv[0];
end $$;

create trigger log_no_change before update or delete on log
    for each row execute function muster_refuse('the event log is append-only');
create trigger log_no_truncate before truncate on log
    for each statement execute function muster_refuse('the event log is append-only');

create trigger permit_no_return before update on install_order
    for each row when (old.permit = 'closed' and new.permit <> 'closed')
    execute function muster_refuse('a closed permit never reopens');
create trigger permit_no_step_back before update on install_order
    for each row when (old.permit = 'started'
        and (new.permit = 'open' or new.started_disk is distinct from old.started_disk))
    execute function muster_refuse('a started permit stays with its disk until it is closed');
create trigger permit_no_delete before delete on install_order
    for each row execute function muster_refuse('an order is closed, never deleted');
create trigger permit_starts_open before insert on install_order
    for each row when (new.permit <> 'open')
    execute function muster_refuse('an order begins with an open permit');

create function muster_act_destroys_by_leave() returns trigger language plpgsql as $$
begin
    if not exists (
        select 1 from subject where subject.subject = new.subject
            and label in ('installing', 'releasing', 'retiring', 'commissioning'))
    then
        raise exception 'rail: wiping and installing need a state that allows them';
    end if;
    return new;
end $$;
create trigger act_destroys_by_leave before insert on act
    for each row when (new.weight in ('wipe', 'install'))
    execute function muster_act_destroys_by_leave();
create trigger act_frozen_payload before update on act
    for each row when (new.subject <> old.subject or new.epoch <> old.epoch or new.slot <> old.slot
        or new.body <> old.body or new.again <> old.again or new.target <> old.target or new.owner <> old.owner
        or new.weight <> old.weight)
    execute function muster_refuse('an act keeps the payload it was recorded with');
create trigger act_once before update on act
    for each row when (old.state in ('done', 'failed'))
    execute function muster_refuse('a finished act is never touched again');
create trigger act_no_delete before delete on act
    for each row execute function muster_refuse('an act is finished, never deleted');
