-- What must never be, refused by the database itself. The same rules stand in the file for PostgreSQL.

create trigger log_no_update before update on log
begin select raise(abort, 'rail: the event log is append-only'); end;
create trigger log_no_delete before delete on log
begin select raise(abort, 'rail: the event log is append-only'); end;

create trigger permit_no_return before update on install_order
when old.permit = 'closed' and new.permit <> 'closed'
begin select raise(abort, 'rail: a closed permit never reopens'); end;
create trigger permit_no_step_back before update on install_order
when old.permit = 'started' and (new.permit = 'open' or new.started_disk is distinct from old.started_disk)
begin select raise(abort, 'rail: a started permit stays with its disk until it is closed'); end;
create trigger permit_no_delete before delete on install_order
begin select raise(abort, 'rail: an order is closed, never deleted'); end;
create trigger permit_starts_open before insert on install_order
when new.permit <> 'open'
begin select raise(abort, 'rail: an order begins with an open permit'); end;

create trigger act_destroys_by_leave before insert on act
when new.weight in ('wipe', 'install') and not exists (
    select 1 from subject where subject.subject = new.subject
        and label in ('installing', 'releasing', 'retiring', 'commissioning'))
begin select raise(abort, 'rail: wiping and installing need a state that allows them'); end;
create trigger act_frozen_payload before update on act
when new.subject <> old.subject or new.epoch <> old.epoch or new.slot <> old.slot or new.body <> old.body
    or new.again <> old.again or new.target <> old.target or new.owner <> old.owner or new.weight <> old.weight
begin select raise(abort, 'rail: an act keeps the payload it was recorded with'); end;
create trigger act_once before update on act
when old.state in ('done', 'failed')
begin select raise(abort, 'rail: a finished act is never touched again'); end;
create trigger act_no_delete before delete on act
begin select raise(abort, 'rail: an act is finished, never deleted'); end;
