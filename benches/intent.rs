//! What does it cost to read one message? The bar is 20 µs.

use criterion::{BenchmarkId, Criterion, criterion_group, criterion_main};
use optout::intent::Detector;

const MESSAGES: [(&str, &str); 5] = [
    ("lone word", "STOP"),
    ("unknown word", "kwyjibos"),
    ("phrase", "please take my number off your list, I never asked for these messages"),
    ("talk", "hola, mi pedido no ha llegado y ya pasaron tres días, me pueden decir dónde está?"),
    (
        "long",
        "Bom dia, tudo bem? Comprei um sofá com vocês em março e gostei muito do atendimento, a \
         entrega foi rápida. Só que agora recebo três propagandas por dia e não dá mais. Peço que \
         tirem meu contato da lista. Obrigada, Márcia",
    ),
];

fn read(criterion: &mut Criterion) {
    let detector = Detector::built_in();
    let mut group = criterion.benchmark_group("intent");
    for (name, text) in MESSAGES {
        group.bench_with_input(BenchmarkId::from_parameter(name), text, |bencher, text| {
            bencher.iter(|| detector.read(text));
        });
    }
    group.finish();
}

criterion_group!(benches, read);
criterion_main!(benches);
