//! What is known by a job's id.
//!
//! There are few jobs at a time as a rule, and few are looked through sooner than hashed. Many are hashed, by a hash
//! that nobody can foresee who chooses ids.

use std::collections::HashMap;

/// So many are few.
const FEW: usize = 8;

/// A map from ids.
#[derive(Debug)]
pub(super) struct ById<T> {
    /// All of them, while they are few.
    few: Vec<(String, T)>,
    /// All of them, from where they are more until there are none.
    many: HashMap<String, T>,
}

impl<T> ById<T> {
    pub(super) fn new() -> ById<T> {
        ById {
            few: Vec::new(),
            many: HashMap::new(),
        }
    }

    #[inline]
    fn place(&self, id: &str) -> Option<usize> {
        self.few.iter().position(|(known, _)| known == id)
    }

    #[inline]
    pub(super) fn get(&self, id: &str) -> Option<&T> {
        if self.many.is_empty() {
            self.place(id).map(|place| &self.few[place].1)
        } else {
            self.many.get(id)
        }
    }

    #[inline]
    pub(super) fn get_mut(&mut self, id: &str) -> Option<&mut T> {
        if self.many.is_empty() {
            self.place(id).map(|place| &mut self.few[place].1)
        } else {
            self.many.get_mut(id)
        }
    }

    #[inline]
    pub(super) fn contains_key(&self, id: &str) -> bool {
        self.get(id).is_some()
    }

    /// Takes it in, in place of what was known by the id.
    pub(super) fn insert(&mut self, id: String, value: T) {
        if !self.many.is_empty() {
            self.many.insert(id, value);
        } else if let Some(place) = self.place(&id) {
            self.few[place].1 = value;
        } else if self.few.len() < FEW {
            self.few.push((id, value));
        } else {
            self.many.extend(self.few.drain(..));
            self.many.insert(id, value);
        }
    }

    pub(super) fn remove(&mut self, id: &str) -> Option<T> {
        if self.many.is_empty() {
            let place = self.place(id)?;
            Some(self.few.swap_remove(place).1)
        } else {
            self.many.remove(id)
        }
    }

    pub(super) fn clear(&mut self) {
        self.few.clear();
        self.many.clear();
    }

    pub(super) fn is_empty(&self) -> bool {
        self.few.is_empty() && self.many.is_empty()
    }

    /// All, in no order.
    pub(super) fn iter(&self) -> impl Iterator<Item = (&str, &T)> {
        let few = self.few.iter().map(|(id, value)| (id.as_str(), value));
        few.chain(self.many.iter().map(|(id, value)| (id.as_str(), value)))
    }

    pub(super) fn iter_mut(&mut self) -> impl Iterator<Item = (&str, &mut T)> {
        let few = self.few.iter_mut().map(|(id, value)| (id.as_str(), value));
        let many = self.many.iter_mut();
        few.chain(many.map(|(id, value)| (id.as_str(), value)))
    }

    pub(super) fn values(&self) -> impl Iterator<Item = &T> {
        self.iter().map(|(_, value)| value)
    }

    pub(super) fn values_mut(&mut self) -> impl Iterator<Item = &mut T> {
        self.iter_mut().map(|(_, value)| value)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// All of them, in order.
    fn all(map: &ById<usize>) -> Vec<(String, usize)> {
        let mut all: Vec<_> = map.iter().map(|(id, &at)| (id.to_owned(), at)).collect();
        all.sort_unstable();
        all
    }

    #[test]
    fn few_and_many_are_kept_alike() {
        // What comes and goes, from few to many and back, beside a map that is known to be right.
        let mut map = ById::new();
        let mut model = std::collections::BTreeMap::new();
        for step in 0..2000_usize {
            let id = format!("j{}", step * 7919 % 23);
            // Up to 23 at times, and none at others.
            if step * 31 % 100 < [80, 15][step / 200 % 2] {
                map.insert(id.clone(), step);
                model.insert(id, step);
            } else {
                assert_eq!(map.remove(&id), model.remove(&id), "{step}");
            }
            let known: Vec<_> = model.iter().map(|(id, &at)| (id.clone(), at)).collect();
            assert_eq!(all(&map), known, "{step}");
            assert_eq!(map.is_empty(), known.is_empty());
            for place in 0..23 {
                let id = format!("j{place}");
                assert_eq!(map.get(&id), model.get(&id), "{step}");
                assert_eq!(map.get_mut(&id), model.get_mut(&id), "{step}");
                assert_eq!(map.contains_key(&id), model.contains_key(&id), "{step}");
            }
        }
        for value in map.values_mut() {
            *value += 1;
        }
        let sum: usize = model.values().sum();
        assert_eq!(map.values().sum::<usize>(), sum + model.len());
        map.clear();
        assert!(map.is_empty() && map.get("j1").is_none());
    }
}
