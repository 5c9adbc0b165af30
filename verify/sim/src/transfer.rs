//! Accounts between which money is moved by transactions: no transaction makes or loses any, so their sum
//! is 0 in every state, and every read of all of them at once must find it so.

use keyspace::{
    Compare, Item, Keys, Outcome, Query, QueryAnswer, Relation, Target, Txn, TxnOp, TxnOutcome, TxnResult,
    prefix_range,
};
use node::Op;
use types::limits::RANGE_ITEMS_MAX;

use crate::{dice::Dice, failure::Broken};

const ACCOUNTS: usize = 4;
const PREFIX: &str = "account/";

/// What a client saw of an account.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Account {
    /// Its balance; 0 while there is no such key.
    pub balance: i64,
    /// Its last change; 0 while there is no such key.
    pub mod_revision: u64,
}

/// A transfer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Transfer {
    from: usize,
    to: usize,
    amount: i64,
    /// The two accounts as the client saw them: the transfer writes what follows from them, if they are
    /// still so. `None`: it adds and subtracts, whatever they hold.
    seen: Option<(Account, Account)>,
}

impl Transfer {
    /// Any transfer, by a client that saw these accounts.
    pub fn draw(dice: &mut Dice, known: Option<&[Account]>) -> Transfer {
        let from = dice.below(ACCOUNTS as u64) as usize;
        let to = (from + 1 + dice.below(ACCOUNTS as u64 - 1) as usize) % ACCOUNTS;
        let amount = 1 + dice.below(100) as i64;
        let compare = dice.chance(700);
        let seen = known.filter(|_| compare).map(|known| (known[from], known[to]));
        Transfer { from, to, amount, seen }
    }

    /// What a node is asked.
    pub fn op(&self) -> Op {
        let (from, to) = (key(self.from), key(self.to));
        let Some((old_from, old_to)) = self.seen else {
            let then = vec![
                TxnOp::Increment { key: from, by: -self.amount },
                TxnOp::Increment { key: to, by: self.amount },
            ];
            return Op::from(Txn { then, ..Txn::default() });
        };
        let compare = |key: &[u8], account: Account| Compare {
            keys: Keys::One(key.to_vec()),
            target: Target::ModRevision(account.mod_revision),
            relation: Relation::Equal,
        };
        let compares = vec![compare(&from, old_from), compare(&to, old_to)];
        let put =
            |key, balance: i64| TxnOp::Put { key, value: balance.to_string().into_bytes(), lease: None };
        let then = vec![put(from, old_from.balance - self.amount), put(to, old_to.balance + self.amount)];
        Op::from(Txn { compares, then, otherwise: vec![] })
    }
}

fn key(account: usize) -> Vec<u8> {
    format!("{PREFIX}{account}").into_bytes()
}

/// A read of all accounts.
pub fn audit(by_range: bool) -> Op {
    if by_range {
        let range = prefix_range(PREFIX.as_bytes());
        return Op::Query(Query::Range { range, limit: RANGE_ITEMS_MAX, keys_only: false });
    }
    let then = (0..ACCOUNTS).map(|account| TxnOp::Get { key: key(account) }).collect();
    Op::from(Txn { then, ..Txn::default() })
}

/// Whether a transfer was done, or found its accounts changed; `None` if the answer is neither.
pub fn check(outcome: &Outcome) -> Option<bool> {
    match outcome {
        Outcome::Txn(TxnOutcome::Done { succeeded, results, .. }) => {
            (results.len() == 2 || !succeeded).then_some(*succeeded)
        }
        _ => None,
    }
}

/// The accounts that a read found; `None` if it is no answer to [`audit`].
pub fn accounts(answer: &QueryAnswer) -> Option<Vec<Account>> {
    let account = |row: &storage::Row| {
        let balance = std::str::from_utf8(&row.value).ok()?.parse().ok()?;
        Some(Account { balance, mod_revision: row.mod_revision })
    };
    match answer {
        QueryAnswer::Txn(TxnOutcome::Done { results, .. }) => results
            .iter()
            .map(|result| match result {
                TxnResult::Get { row: None } => Some(Account::default()),
                TxnResult::Get { row: Some(row) } => account(row),
                _ => None,
            })
            .collect(),
        QueryAnswer::Range { items, next: None, .. } => (0..ACCOUNTS)
            .map(|number| match items.iter().find(|item: &&Item| item.key == key(number)) {
                None => Some(Account::default()),
                Some(item) => account(&item.row),
            })
            .collect(),
        _ => None,
    }
}

/// No money is made or lost.
///
/// # Errors
/// When the sum is not 0.
pub fn check_sum(accounts: &[Account]) -> Result<(), Broken> {
    let sum: i64 = accounts.iter().map(|account| account.balance).sum();
    if sum == 0 {
        return Ok(());
    }
    Err(Broken::safety("transfers_keep_the_sum", format!("the accounts sum to {sum}: {accounts:?}")))
}
