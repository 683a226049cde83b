//! Which functions have to stay `const`.
//!
//! What is computed while compiling cannot be switched afterwards. A `const fn` that nothing constant
//! calls is as good without the word, and can be. Names are all that is looked at: one that is used
//! in a constant anywhere keeps every function of that name.

use std::collections::{BTreeMap, BTreeSet};

use proc_macro2::{Delimiter, TokenStream, TokenTree};
use syn::visit::{self, Visit};

/// The names of what constants call, directly or through a `const fn`, in any of these sources. One that
/// does not parse says nothing.
pub fn names<'a>(sources: impl IntoIterator<Item = &'a str>) -> BTreeSet<String> {
    let mut found = Found::default();
    for source in sources {
        if let Ok(file) = syn::parse_file(source) {
            found.visit_file(&file);
        }
    }
    let mut next: Vec<String> = found.used.iter().cloned().collect();
    while let Some(name) = next.pop() {
        for inner in found.functions.get(&name).into_iter().flatten() {
            if found.used.insert(inner.clone()) {
                next.push(inner.clone());
            }
        }
    }
    found.used
}

#[derive(Default)]
struct Found {
    used: BTreeSet<String>,
    /// What the bodies of the `const fn`s of a name call.
    functions: BTreeMap<String, BTreeSet<String>>,
}

impl Found {
    fn uses(&mut self, value: &syn::Expr) {
        Mentioned(&mut self.used).visit_expr(value);
    }

    fn function(&mut self, signature: &syn::Signature, body: &syn::Block) {
        if signature.constness.is_some() {
            let inner = self.functions.entry(signature.ident.to_string());
            Mentioned(inner.or_default()).visit_block(body);
        }
    }
}

/// Every name that is called.
struct Mentioned<'a>(&'a mut BTreeSet<String>);

impl Mentioned<'_> {
    /// In a macro a call is a name before parentheses.
    fn tokens(&mut self, tokens: TokenStream) {
        let mut name = None;
        for token in tokens {
            match token {
                TokenTree::Ident(ident) => name = Some(ident.to_string()),
                TokenTree::Group(group) => {
                    if group.delimiter() == Delimiter::Parenthesis {
                        self.0.extend(name.take());
                    }
                    self.tokens(group.stream());
                }
                TokenTree::Punct(_) | TokenTree::Literal(_) => name = None,
            }
        }
    }
}

impl<'ast> Visit<'ast> for Mentioned<'_> {
    fn visit_expr_call(&mut self, call: &'ast syn::ExprCall) {
        if let syn::Expr::Path(path) = &*call.func
            && let Some(last) = path.path.segments.last()
        {
            self.0.insert(last.ident.to_string());
        }
        visit::visit_expr_call(self, call);
    }

    fn visit_expr_method_call(&mut self, call: &'ast syn::ExprMethodCall) {
        self.0.insert(call.method.to_string());
        visit::visit_expr_method_call(self, call);
    }

    fn visit_macro(&mut self, call: &'ast syn::Macro) {
        self.tokens(call.tokens.clone());
    }
}

impl<'ast> Visit<'ast> for Found {
    fn visit_item_const(&mut self, item: &'ast syn::ItemConst) {
        self.uses(&item.expr);
    }

    fn visit_item_static(&mut self, item: &'ast syn::ItemStatic) {
        self.uses(&item.expr);
    }

    fn visit_impl_item_const(&mut self, item: &'ast syn::ImplItemConst) {
        self.uses(&item.expr);
    }

    fn visit_trait_item_const(&mut self, item: &'ast syn::TraitItemConst) {
        if let Some((_, value)) = &item.default {
            self.uses(value);
        }
    }

    fn visit_expr_const(&mut self, block: &'ast syn::ExprConst) {
        Mentioned(&mut self.used).visit_block(&block.block);
    }

    fn visit_expr_repeat(&mut self, array: &'ast syn::ExprRepeat) {
        // `[f(); 3]` wants a constant where the value cannot be copied.
        Mentioned(&mut self.used).visit_expr_repeat(array);
    }

    fn visit_type_array(&mut self, array: &'ast syn::TypeArray) {
        self.uses(&array.len);
        visit::visit_type_array(self, array);
    }

    fn visit_variant(&mut self, variant: &'ast syn::Variant) {
        if let Some((_, value)) = &variant.discriminant {
            self.uses(value);
        }
    }

    /// Nobody knows what a macro makes of it: constants, as `thread_local!` and `const_assert!` do.
    fn visit_item_macro(&mut self, item: &'ast syn::ItemMacro) {
        Mentioned(&mut self.used).tokens(item.mac.tokens.clone());
    }

    fn visit_item_fn(&mut self, item: &'ast syn::ItemFn) {
        self.function(&item.sig, &item.block);
        visit::visit_item_fn(self, item);
    }

    fn visit_impl_item_fn(&mut self, item: &'ast syn::ImplItemFn) {
        self.function(&item.sig, &item.block);
        visit::visit_impl_item_fn(self, item);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_constant_uses_through_a_function_is_found() {
        let one = "const A: u8 = direct(other); fn plain() -> u8 { let _ = [0; length()]; other() }
                   thread_local! { static B: u8 = const { hidden() + other } }";
        let two = "impl S { const fn direct() -> u8 { inner() } } const fn inner() -> u8 { 1 }
                   const fn other() -> u8 { 2 }";
        let names = names([one, two]);
        for name in ["direct", "inner", "length", "hidden"] {
            assert!(names.contains(name), "{name}");
        }
        assert!(!names.contains("other"));
    }
}
