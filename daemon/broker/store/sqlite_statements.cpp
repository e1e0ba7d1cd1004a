// The statements of the store, in the order of SqliteStore::Sql.
#include "daemon/broker/store/sqlite_store.h"

namespace mtd::task {

const std::array<const char*, static_cast<std::size_t>(SqliteStore::Sql::kCount)>
    SqliteStore::kTexts = {
        // begin, commit, rollback
        "BEGIN IMMEDIATE",
        "COMMIT",
        "ROLLBACK",
        // insert
        "INSERT OR IGNORE INTO task(id,pool,live,state,priority,ord,attempts,failures,crashes,"
        "recoveries,max_attempts,timeout,due,due_by_wall,expires,created,started,slot,incarnation,"
        "durability,bytes,reason,death,death_number,uid,name,grp,ukey,body,args,data,answer)"
        "VALUES(?1,?2,1,?3,?4,?5,0,0,0,0,?6,?7,?8,?9,?10,?11,0,0,0,?12,?13,0,0,0,?14,?15,?16,?17,"
        "?18,?19,?20,0)",
        // find_uid, find_unique
        "SELECT id FROM task WHERE uid=?1",
        "SELECT id FROM task WHERE pool=?1 AND ukey=?2 AND live IS NOT NULL",
        // insert_body
        "INSERT INTO body(task,args,data)VALUES(?1,?2,?3)",
        // claim
        "UPDATE task SET state=2,attempts=?2,slot=?3,incarnation=?4,started=?5 "
        "WHERE id=?1 AND live=1 AND state<2 AND attempts=?2-1 RETURNING body,uid,name,args,data",
        // read_body
        "SELECT args,data FROM body WHERE task=?1",
        // finish, finish_answered: ?2 and ?3 bound the attempts that are on record
        "UPDATE task SET state=?4,live=NULL,dead=?5,finished=?6,reason=?7,failures=?8,crashes=?9,"
        "recoveries=?10,death=?11,death_number=?12,attempts=?3,started=coalesce(?13,started),"
        "slot=coalesce(?14,slot),incarnation=coalesce(?15,incarnation) "
        "WHERE id=?1 AND live=1 AND attempts BETWEEN ?2 AND ?3",
        "UPDATE task SET state=?4,live=NULL,dead=?5,finished=?6,reason=?7,failures=?8,crashes=?9,"
        "recoveries=?10,death=?11,death_number=?12,attempts=?3,started=coalesce(?13,started),"
        "slot=coalesce(?14,slot),incarnation=coalesce(?15,incarnation),"
        "answer=1,result=?16,answer_data=?17,file=?18,error=?19 WHERE id=?1 AND live=1 AND "
        "attempts BETWEEN ?2 AND ?3",
        // requeue
        "UPDATE task SET state=?4,due=?5,due_by_wall=0,ord=?6,reason=?7,failures=?8,crashes=?9,"
        "recoveries=?10,death=?11,death_number=?12,attempts=?3 "
        "WHERE id=?1 AND live=1 AND attempts BETWEEN ?2 AND ?3",
        // insert_attempt, prune_attempts
        "INSERT OR REPLACE INTO attempt(task,attempt,slot,incarnation,started,ended,outcome,death,"
        "death_number)VALUES(?1,?2,?3,?4,?5,?6,?7,?8,?9)",
        "DELETE FROM attempt WHERE task=?1 AND attempt NOT IN(SELECT attempt FROM attempt WHERE "
        "task=?1 ORDER BY attempt DESC LIMIT ?2)",
        // insert_answer, set_answer
        "INSERT OR REPLACE INTO answer(task,result,data,file,error)VALUES(?1,?2,?3,?4,?5)",
        "UPDATE task SET answer=?2,result=?3,answer_data=?4,file=?5,error=?6 WHERE id=?1",
        // promote
        "UPDATE task SET state=1,ord=?2 WHERE id=?1 AND live=1 AND state=0",
        // cancel
        "UPDATE task SET cancel=?4 WHERE id=?1 AND live=1 AND attempts BETWEEN ?2 AND ?3",
        // revive
        "UPDATE OR IGNORE task SET state=1,live=1,dead=NULL,finished=NULL,ord=?3,"
        "failures=0,crashes=0,recoveries=0,expires=9223372036854775807,cancel=NULL,reason=0,death="
        "0,"
        "death_number=0,answer=0,result=NULL,answer_data=NULL,file=NULL,error=NULL "
        "WHERE id=?1 AND pool=?2 AND live IS NULL AND state<>3",
        // forget_attempts, forget_answer, forget_body
        "DELETE FROM attempt WHERE task=?1",
        "DELETE FROM answer WHERE task=?1",
        "DELETE FROM body WHERE task=?1",
        // file_apart
        "SELECT file FROM answer WHERE task=?1",
        // oldest
        "SELECT MIN(finished) FROM task WHERE pool=?1 AND dead=?2",
        // collect
        "SELECT id FROM task WHERE pool=?1 AND dead=?2 AND finished<?3 ORDER BY finished LIMIT ?4",
        // remove
        "DELETE FROM task WHERE id=?1 AND dead IS NOT NULL RETURNING body,answer,file,attempts",
        // find_pool, insert_pool
        "SELECT id FROM pool WHERE name=?1",
        "INSERT INTO pool(name)VALUES(?1)",
        // set_meta
        "INSERT OR REPLACE INTO meta(name,value)VALUES(?1,?2)",
        // page_count, free_pages
        "PRAGMA page_count",
        "PRAGMA freelist_count",
};

}  // namespace mtd::task
