//! Where the mutants of a file are in its syntax, and what each place has to become.
//!
//! cargo-mutants says where a mutant begins: at the operator, the guard, the arm, the field, or the
//! first statement of the body. What is around that place is found by parsing the file as it does.

use std::cmp::Reverse;
use std::collections::{BTreeSet, HashMap};
use std::ops::Range;

use proc_macro2::{LineColumn, Span};
use syn::spanned::Spanned;
use syn::visit::{self, Visit};
use syn::{BinOp, Expr, UnOp};

use super::list::{Genre, Mutant, Place};

/// A piece of the source that is written otherwise.
#[derive(Debug)]
pub struct Site {
    /// In bytes; empty where something is put between.
    pub range: Range<usize>,
    pub form: Form,
    /// Their numbers, and what they put there.
    pub mutants: Vec<(usize, String)>,
}

/// Ranges are of operands, in the source.
#[derive(Debug)]
pub enum Form {
    /// The word `const`.
    Removed,
    /// Before the first statement of a function.
    Body,
    /// `&&`, or else `||`.
    Lazy {
        left: Range<usize>,
        right: Range<usize>,
        and: bool,
    },
    /// `==` and the like, which borrow their operands.
    Compared {
        left: Range<usize>,
        right: Range<usize>,
        operator: String,
    },
    /// `+` and the like, which take them.
    Computed {
        left: Range<usize>,
        right: Range<usize>,
        operator: String,
    },
    /// `+=` and the like.
    Assigned {
        place: Range<usize>,
        value: Range<usize>,
        operator: String,
    },
    Unary {
        operand: Range<usize>,
        operator: &'static str,
    },
    /// The guard of an arm.
    Guard,
    /// Behind the pattern of an arm that has no guard.
    Arm,
    /// The value of a field of an expression with a base.
    Field {
        /// None: it is bound, by [`Based`](Form::Based).
        base: Option<Range<usize>>,
        name: String,
        shorthand: bool,
    },
    /// An expression with a base that cannot be written twice.
    Based {
        base: Range<usize>,
        /// What to write in its place, where its type follows from where it stands.
        default: Option<String>,
    },
}

/// What is found in a file.
pub struct Sites {
    /// By their beginning; those around others before them.
    pub sites: Vec<Site>,
    /// Mutants that no switch can be put before.
    pub apart: Vec<usize>,
}

/// `mutants` are those of this file, with their numbers; functions called as in `constant` stay `const`.
pub fn find(
    source: &str,
    mutants: &[(usize, &Mutant)],
    constant: &BTreeSet<String>,
) -> Result<Sites, String> {
    let file = syn::parse_file(source).map_err(|error| {
        let LineColumn { line, column } = error.span().start();
        format!("line {line}, column {}: {error}", column + 1)
    })?;
    let mut left: HashMap<(Genre, Place), Vec<(usize, String)>> = HashMap::new();
    for (number, mutant) in mutants {
        let place = (mutant.genre, mutant.span.start);
        left.entry(place)
            .or_default()
            .push((*number, mutant.replacement.clone()));
    }
    let mut finder = Finder {
        source,
        left,
        constant,
        stays_constant: false,
        sites: Vec::new(),
    };
    finder.visit_file(&file);
    let Finder {
        left, mut sites, ..
    } = finder;
    // Those of one range were found from the outside in, and stay so.
    sites.sort_by_key(|site| {
        let Range { start, end } = site.range;
        (start, start != end, Reverse(end))
    });
    let mut apart: Vec<usize> = left
        .into_values()
        .flatten()
        .map(|(number, _)| number)
        .collect();
    apart.sort_unstable();
    Ok(Sites { sites, apart })
}

struct Finder<'a> {
    source: &'a str,
    /// Mutants that have no site yet.
    left: HashMap<(Genre, Place), Vec<(usize, String)>>,
    constant: &'a BTreeSet<String>,
    /// What is visited is computed while compiling.
    stays_constant: bool,
    sites: Vec<Site>,
}

impl Finder<'_> {
    /// The mutants of this kind that begin with `span`, if they can be switched.
    fn take(&mut self, genre: Genre, span: Span) -> Option<Vec<(usize, String)>> {
        if self.stays_constant {
            return None;
        }
        let LineColumn { line, column } = span.start();
        let column = column + 1;
        self.left.remove(&(genre, Place { line, column }))
    }

    fn put(&mut self, range: Range<usize>, form: Form, mutants: Vec<(usize, String)>) {
        self.sites.push(Site {
            range,
            form,
            mutants,
        });
    }

    fn function(&mut self, signature: &syn::Signature, body: &syn::Block) -> bool {
        let before = self.stays_constant;
        self.stays_constant = false;
        if let Some(word) = &signature.constness {
            if self.constant.contains(&signature.ident.to_string()) {
                self.stays_constant = true;
            } else {
                self.put(range(word), Form::Removed, Vec::new());
            }
        }
        // What `impl Trait` is, is said by the body, and there can be one answer only.
        if let Some(first) = body.stmts.first()
            && !is_opaque(&signature.output)
            && let Some(mutants) = self.take(Genre::FnValue, first.span())
        {
            let at = range(first).start;
            self.put(at..at, Form::Body, mutants);
        }
        before
    }

    fn constant(&mut self, visit: impl FnOnce(&mut Self)) {
        let before = self.stays_constant;
        self.stays_constant = true;
        visit(self);
        self.stays_constant = before;
    }
}

fn range(part: &impl Spanned) -> Range<usize> {
    part.span().byte_range()
}

/// Whether `impl` stands anywhere in it.
fn is_opaque(output: &syn::ReturnType) -> bool {
    struct Opaque(bool);
    impl Visit<'_> for Opaque {
        fn visit_type_impl_trait(&mut self, _: &syn::TypeImplTrait) {
            self.0 = true;
        }
    }
    let mut opaque = Opaque(false);
    opaque.visit_return_type(output);
    opaque.0
}

/// Whether it is one of the conditions of an `if let`, which are no expression together.
fn has_let(condition: &Expr) -> bool {
    match condition {
        Expr::Let(_) => true,
        Expr::Binary(binary) if matches!(binary.op, BinOp::And(_)) => {
            has_let(&binary.left) || has_let(&binary.right)
        }
        _ => false,
    }
}

/// Whether it can be written twice.
fn is_place(base: &Expr) -> bool {
    match base {
        Expr::Path(_) => true,
        Expr::Field(field) => is_place(&field.base),
        Expr::Paren(inner) => is_place(&inner.expr),
        Expr::Unary(unary) => matches!(unary.op, UnOp::Deref(_)) && is_place(&unary.expr),
        _ => false,
    }
}

/// Whether it is `Default::default()`, whose type is taken from where it stands.
fn is_default(base: &Expr) -> bool {
    let Expr::Call(call) = base else { return false };
    let Expr::Path(path) = &*call.func else {
        return false;
    };
    let names: Vec<String> = (path.path.segments.iter())
        .map(|segment| segment.ident.to_string())
        .collect();
    names == ["Default", "default"]
}

impl<'ast> Visit<'ast> for Finder<'_> {
    fn visit_item_fn(&mut self, item: &'ast syn::ItemFn) {
        let before = self.function(&item.sig, &item.block);
        visit::visit_item_fn(self, item);
        self.stays_constant = before;
    }

    fn visit_impl_item_fn(&mut self, item: &'ast syn::ImplItemFn) {
        let before = self.function(&item.sig, &item.block);
        visit::visit_impl_item_fn(self, item);
        self.stays_constant = before;
    }

    fn visit_trait_item_fn(&mut self, item: &'ast syn::TraitItemFn) {
        if let Some(body) = &item.default {
            let before = self.function(&item.sig, body);
            visit::visit_trait_item_fn(self, item);
            self.stays_constant = before;
        }
    }

    fn visit_item_const(&mut self, item: &'ast syn::ItemConst) {
        self.constant(|finder| visit::visit_item_const(finder, item));
    }

    fn visit_item_static(&mut self, item: &'ast syn::ItemStatic) {
        self.constant(|finder| visit::visit_item_static(finder, item));
    }

    fn visit_impl_item_const(&mut self, item: &'ast syn::ImplItemConst) {
        self.constant(|finder| visit::visit_impl_item_const(finder, item));
    }

    fn visit_trait_item_const(&mut self, item: &'ast syn::TraitItemConst) {
        self.constant(|finder| visit::visit_trait_item_const(finder, item));
    }

    fn visit_expr_const(&mut self, block: &'ast syn::ExprConst) {
        self.constant(|finder| visit::visit_expr_const(finder, block));
    }

    fn visit_type_array(&mut self, array: &'ast syn::TypeArray) {
        self.constant(|finder| visit::visit_type_array(finder, array));
    }

    fn visit_variant(&mut self, variant: &'ast syn::Variant) {
        self.constant(|finder| visit::visit_variant(finder, variant));
    }

    fn visit_expr_repeat(&mut self, array: &'ast syn::ExprRepeat) {
        self.visit_expr(&array.expr);
        self.constant(|finder| finder.visit_expr(&array.len));
    }

    fn visit_expr_binary(&mut self, binary: &'ast syn::ExprBinary) {
        let (left, right) = (range(&binary.left), range(&binary.right));
        let operator = self.source[range(&binary.op)].to_owned();
        let form = match binary.op {
            BinOp::And(_) if has_let(&binary.left) || has_let(&binary.right) => None,
            BinOp::And(_) | BinOp::Or(_) => Some(Form::Lazy {
                left,
                right,
                and: matches!(binary.op, BinOp::And(_)),
            }),
            BinOp::Eq(_)
            | BinOp::Ne(_)
            | BinOp::Lt(_)
            | BinOp::Le(_)
            | BinOp::Gt(_)
            | BinOp::Ge(_) => Some(Form::Compared {
                left,
                right,
                operator,
            }),
            BinOp::Add(_)
            | BinOp::Sub(_)
            | BinOp::Mul(_)
            | BinOp::Div(_)
            | BinOp::Rem(_)
            | BinOp::BitXor(_)
            | BinOp::BitAnd(_)
            | BinOp::BitOr(_)
            | BinOp::Shl(_)
            | BinOp::Shr(_) => Some(Form::Computed {
                left,
                right,
                operator,
            }),
            _ => Some(Form::Assigned {
                place: left,
                value: right,
                operator,
            }),
        };
        if let Some(form) = form
            && let Some(mutants) = self.take(Genre::BinaryOperator, binary.op.span())
        {
            self.put(range(binary), form, mutants);
        }
        visit::visit_expr_binary(self, binary);
    }

    fn visit_expr_unary(&mut self, unary: &'ast syn::ExprUnary) {
        let operator = if matches!(unary.op, UnOp::Not(_)) {
            "!"
        } else {
            "-"
        };
        if let Some(mutants) = self.take(Genre::UnaryOperator, unary.op.span()) {
            let operand = range(&unary.expr);
            self.put(range(unary), Form::Unary { operand, operator }, mutants);
        }
        visit::visit_expr_unary(self, unary);
    }

    fn visit_expr_match(&mut self, matched: &'ast syn::ExprMatch) {
        // Otherwise an arm that may be passed over leaves nothing that takes its values.
        let is_rest = |arm: &syn::Arm| arm.guard.is_none() && matches!(arm.pat, syn::Pat::Wild(_));
        let has_rest = matched.arms.iter().any(is_rest);
        for arm in &matched.arms {
            if let Some((_, guard)) = &arm.guard {
                if let Some(mutants) = self.take(Genre::MatchArmGuard, guard.span()) {
                    self.put(range(guard), Form::Guard, mutants);
                }
            } else if has_rest && let Some(mutants) = self.take(Genre::MatchArm, arm.span()) {
                let at = range(&arm.pat).end;
                self.put(at..at, Form::Arm, mutants);
            }
        }
        visit::visit_expr_match(self, matched);
    }

    fn visit_expr_struct(&mut self, literal: &'ast syn::ExprStruct) {
        if let Some(base) = &literal.rest {
            let place = is_place(base).then(|| range(base));
            let mut fields = Vec::new();
            let mut numbers = Vec::new();
            for field in &literal.fields {
                if let Some(mutants) = self.take(Genre::StructField, field.span()) {
                    numbers.extend(mutants.iter().cloned());
                    let name = self.source[range(&field.member)].to_owned();
                    fields.push((
                        range(&field.expr),
                        Form::Field {
                            base: place.clone(),
                            name,
                            shorthand: field.colon_token.is_none(),
                        },
                        mutants,
                    ));
                }
            }
            if place.is_none() && !fields.is_empty() {
                let named = &self.source[range(&literal.path)];
                let default = is_default(base).then(|| format!("{named}::default()"));
                let base = range(base);
                self.put(range(literal), Form::Based { base, default }, numbers);
            }
            for (range, form, mutants) in fields {
                self.put(range, form, mutants);
            }
        }
        visit::visit_expr_struct(self, literal);
    }
}
