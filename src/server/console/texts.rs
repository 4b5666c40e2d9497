//! Every text of the pages, in every language side by side.
//!
//! A text that lacks a language does not compile.

use crate::server::keys::KeyScope;

/// Defines the texts and the table of each language.
macro_rules! texts {
    ($($name:ident: $english:literal, $spanish:literal, $portuguese:literal;)+) => {
        /// The texts of one language.
        pub(super) struct Texts { $(pub(super) $name: &'static str,)+ }
        pub(super) static ENGLISH: Texts = Texts { $($name: $english,)+ };
        pub(super) static SPANISH: Texts = Texts { $($name: $spanish,)+ };
        pub(super) static PORTUGUESE: Texts = Texts { $($name: $portuguese,)+ };

        #[cfg(test)]
        impl Texts {
            fn all(&self) -> Vec<(&'static str, &'static str)> {
                vec![$((stringify!($name), self.$name),)+]
            }
        }
    };
}

texts! {
    // Around every page.
    skip: "Skip to content", "Saltar al contenido", "Ir para o conteúdo";
    pages: "Pages", "Páginas", "Páginas";
    language: "Language", "Idioma", "Idioma";
    audience: "Audience", "Audiencia", "Audiência";
    person: "Person", "Persona", "Pessoa";
    keys: "Keys", "Claves", "Chaves";
    tour: "Tour", "Recorrido", "Tour";
    api: "API", "API", "API";
    sign_in: "Sign in", "Iniciar sesión", "Entrar";
    sign_out: "Sign out", "Cerrar sesión", "Sair";
    signed_in_as: "Key", "Clave", "Chave";
    without_keys: "No keys: open to this machine only", "Sin claves: abierto solo a esta máquina", "Sem chaves: aberto só a esta máquina";
    show_numbers: "Show numbers", "Mostrar números", "Mostrar números";
    show_numbers_help: "For 10 minutes, in this session only. It is logged.", "Durante 10 minutos, solo en esta sesión. Queda registrado.", "Por 10 minutos, só nesta sessão. Fica registrado.";
    mask_numbers: "Mask numbers", "Ocultar números", "Ocultar números";
    numbers_are_shown: "Numbers are shown in full", "Los números se muestran completos", "Os números são mostrados por inteiro";

    // Signing in.
    sign_in_intro: "Paste an API key. What it opens decides what you see.", "Pegue una clave de API. Lo que abre decide lo que ve.", "Cole uma chave de API. O que ela abre decide o que você vê.";
    key_label: "API key", "Clave de API", "Chave de API";
    key_help: "Made with optout key create, or on the Keys page. It begins with optout_.", "Se crea con optout key create o en la página Claves. Empieza por optout_.", "É criada com optout key create ou na página Chaves. Começa com optout_.";
    wrong_key: "This key is not valid, was revoked or has expired.", "Esta clave no es válida, fue revocada o ha caducado.", "Esta chave não é válida, foi revogada ou expirou.";

    // Refusals.
    refused_forbidden: "This is not open to you", "Esto no está abierto para usted", "Isto não está aberto para você";
    refused_not_found: "There is nothing here", "Aquí no hay nada", "Não há nada aqui";
    refused_invalid: "This can't be done as it was asked", "No se puede hacer como se pidió", "Não é possível fazer como foi pedido";
    refused_too_many: "Too many requests", "Demasiadas solicitudes", "Solicitações demais";
    refused_too_large: "This is too large", "Es demasiado grande", "É grande demais";
    refused_failed: "This did not work", "No funcionó", "Não funcionou";
    back_home: "To the first page", "A la primera página", "Para a primeira página";

    // Audience.
    audience_intro: "Everybody who asked not to be messaged, as it was recorded.", "Todas las personas que pidieron no recibir mensajes, tal como se registró.", "Todas as pessoas que pediram para não receber mensagens, como foi registrado.";
    opted_out_now: "Opted out now", "De baja ahora", "Descadastrados agora";
    opted_out_help: "whatever the filter", "sin importar el filtro", "independente do filtro";
    opt_outs: "Opt-outs", "Bajas", "Descadastros";
    resubscribes: "Resubscribes", "Altas de nuevo", "Recadastros";
    in_range: "in the range", "en el período", "no período";
    filter: "Filter", "Filtrar", "Filtrar";
    filters: "Filters", "Filtros", "Filtros";
    more_filters: "More filters", "Más filtros", "Mais filtros";
    reset: "Reset", "Restablecer", "Limpar";
    range: "Range", "Período", "Período";
    today: "Today", "Hoy", "Hoje";
    yesterday: "Yesterday", "Ayer", "Ontem";
    last7: "Last 7 days", "Últimos 7 días", "Últimos 7 dias";
    last28: "Last 28 days", "Últimos 28 días", "Últimos 28 dias";
    last90: "Last 90 days", "Últimos 90 días", "Últimos 90 dias";
    this_month: "This month", "Este mes", "Este mês";
    last_month: "Last month", "El mes pasado", "Mês passado";
    all_time: "All time", "Todo", "Todo o período";
    custom: "Own dates", "Fechas propias", "Datas próprias";
    from: "From", "Desde", "De";
    to: "To, inclusive", "Hasta, inclusive", "Até, inclusive";
    time_zone: "Time zone", "Zona horaria", "Fuso horário";
    clock: "Date of", "Fecha de", "Data de";
    clock_received: "Recording", "Registro", "Registro";
    clock_occurred: "The person's action", "La acción de la persona", "Ação da pessoa";
    view: "Show", "Mostrar", "Mostrar";
    view_events: "Every event", "Cada evento", "Cada evento";
    view_state: "Only who is still opted out", "Solo quienes siguen de baja", "Só quem continua descadastrado";
    source: "Source", "Origen", "Origem";
    channel: "Channel", "Canal", "Canal";
    sender: "Sender", "Remitente", "Remetente";
    campaign: "Campaign", "Campaña", "Campanha";
    country: "Country of the number", "País del número", "País do número";
    all: "All", "Todos", "Todos";
    chart_by_day: "Opt-outs by day and source", "Bajas por día y origen", "Descadastros por dia e origem";
    chart_by_week: "Opt-outs by week and source", "Bajas por semana y origen", "Descadastros por semana e origem";
    chart_by_month: "Opt-outs by month and source", "Bajas por mes y origen", "Descadastros por mês e origem";
    chart_table: "The chart as a table", "El gráfico como tabla", "O gráfico como tabela";
    day: "Day", "Día", "Dia";
    week: "Week of", "Semana del", "Semana de";
    month: "Month", "Mes", "Mês";
    total: "Total", "Total", "Total";
    events_caption: "Events, oldest first", "Eventos, primero el más antiguo", "Eventos, do mais antigo ao mais novo";
    number: "Number", "Número", "Número";
    number_or_id: "Number, in any spelling, or id", "Número, escrito de cualquier forma, o id", "Número, escrito de qualquer forma, ou id";
    action: "Action", "Acción", "Ação";
    occurred: "Happened", "Ocurrió", "Aconteceu";
    received: "Recorded", "Registrado", "Registrado";
    next_page: "Next page", "Página siguiente", "Próxima página";
    first_page: "First page", "Primera página", "Primeira página";
    download: "Download", "Descargar", "Baixar";
    download_help: "Exactly what the filter shows, all pages.", "Exactamente lo que muestra el filtro, todas las páginas.", "Exatamente o que o filtro mostra, todas as páginas.";
    format: "Format", "Formato", "Formato";
    numbers: "Numbers", "Números", "Números";
    numbers_masked: "Masked", "Ocultos", "Ocultos";
    numbers_whole: "In full (logged)", "Completos (queda registrado)", "Por inteiro (fica registrado)";
    find_person: "Find a person", "Buscar una persona", "Buscar uma pessoa";
    find: "Find", "Buscar", "Buscar";
    region: "Region of the number", "Región del número", "Região do número";
    international: "With country code", "Con código de país", "Com código do país";
    empty_store: "Nothing has been recorded yet", "Todavía no se ha registrado nada", "Nada foi registrado ainda";
    empty_store_help: "Opt-outs appear here as soon as a program posts them, a list is imported or somebody records one by hand.", "Las bajas aparecen aquí en cuanto un programa las envía, se importa una lista o alguien registra una a mano.", "Os descadastros aparecem aqui assim que um programa os envia, uma lista é importada ou alguém registra um à mão.";
    empty_filter: "No event matches", "Ningún evento coincide", "Nenhum evento corresponde";
    empty_filter_help: "Take a longer range, or remove a filter.", "Elija un período más largo o quite un filtro.", "Escolha um período maior ou remova um filtro.";
    empty_page_help: "This part of the range holds no match. Go on to the next page.", "Esta parte del período no tiene coincidencias. Siga a la página siguiente.", "Esta parte do período não tem correspondências. Siga para a próxima página.";
    cut: "Only the first 3,000,000 events of the range are counted: take a shorter one.", "Solo se cuentan los primeros 3 000 000 de eventos: elija un período más corto.", "Só os primeiros 3.000.000 de eventos são contados: escolha um período menor.";
    offer_tour: "New here? See all of it with sample data.", "¿Es nuevo? Véalo todo con datos de ejemplo.", "É novo aqui? Veja tudo com dados de exemplo.";
    take_tour: "Take the tour", "Hacer el recorrido", "Fazer o tour";
    not_now: "Not now", "Ahora no", "Agora não";

    // Words of events.
    opt_out: "Opt-out", "Baja", "Descadastro";
    resubscribe: "Resubscribe", "Alta de nuevo", "Recadastro";
    action_link: "Link", "Enlace", "Vínculo";
    action_override: "Override", "Excepción", "Exceção";
    action_retract: "Retraction", "Anulación", "Anulação";
    source_api: "API", "API", "API";
    source_keyword: "Keyword", "Palabra clave", "Palavra-chave";
    source_button: "Button", "Botón", "Botão";
    source_preference: "App preference", "Preferencia de la app", "Preferência do app";
    source_import: "Import", "Importación", "Importação";
    source_registry: "Registry", "Registro oficial", "Registro oficial";
    source_agent: "By hand", "A mano", "À mão";
    source_carrier: "Carrier", "Operador", "Operadora";
    tier_marketing: "Marketing messages", "Mensajes de marketing", "Mensagens de marketing";
    tier_all: "All messages", "Todos los mensajes", "Todas as mensagens";
    forgotten: "(forgotten)", "(olvidado)", "(esquecido)";

    // A person.
    person_intro: "Look somebody up, record an opt-out, or bring somebody back.", "Busque a alguien, registre una baja o dé de alta de nuevo.", "Busque alguém, registre um descadastro ou recadastre alguém.";
    suppressed: "Suppressed", "Suprimido", "Suprimido";
    allowed: "May be messaged", "Puede recibir mensajes", "Pode receber mensagens";
    exempt: "May be messaged; something is opted out", "Puede recibir mensajes; hay alguna baja", "Pode receber mensagens; há algum descadastro";
    standing: "Marketing messages now", "Mensajes de marketing ahora", "Mensagens de marketing agora";
    rule: "Rule", "Regla", "Regra";
    since: "Since", "Desde", "Desde";
    layers: "Outside lists", "Listas externas", "Listas externas";
    history: "History, newest first", "Historial, primero lo más nuevo", "Histórico, do mais novo ao mais antigo";
    no_history: "Nothing is recorded about this number.", "No hay nada registrado sobre este número.", "Nada está registrado sobre este número.";
    note: "Note", "Nota", "Nota";
    operator: "Recorded by", "Registrado por", "Registrado por";
    covers: "Covers", "Abarca", "Abrange";
    written_as: "Written as", "Escrito como", "Escrito como";
    record_opt_out: "Record an opt-out", "Registrar una baja", "Registrar um descadastro";
    record_resubscribe: "Resubscribe with a reason", "Dar de alta de nuevo con un motivo", "Recadastrar com um motivo";
    reason: "Reason", "Motivo", "Motivo";
    reason_help: "How the person asked for it, and when.", "Cómo lo pidió la persona y cuándo.", "Como a pessoa pediu, e quando.";
    override_label: "Lift also what the person said himself", "Levantar también lo que la propia persona dijo", "Remover também o que a própria pessoa disse";
    optional: "optional", "opcional", "opcional";
    everywhere: "Empty: everywhere", "Vacío: en todas partes", "Vazio: em toda parte";
    done_added: "The opt-out is recorded.", "La baja está registrada.", "O descadastro está registrado.";
    done_already: "The opt-out is recorded; the person was opted out before.", "La baja está registrada; la persona ya estaba de baja.", "O descadastro está registrado; a pessoa já estava descadastrada.";
    done_resubscribed: "The resubscribe is recorded.", "El alta está registrada.", "O recadastro está registrado.";
    done_not_listed: "The resubscribe is recorded; the person was not opted out.", "El alta está registrada; la persona no estaba de baja.", "O recadastro está registrado; a pessoa não estava descadastrada.";
    done_refused: "Refused: only the person's own word lifts what the person said. An administrator may override it.", "Rechazado: solo la palabra de la propia persona levanta lo que dijo. Un administrador puede forzarlo.", "Recusado: só a palavra da própria pessoa remove o que ela disse. Um administrador pode forçar.";

    // Keys.
    keys_intro: "A key opens the API and this console. It is shown once.", "Una clave abre la API y esta consola. Se muestra una sola vez.", "Uma chave abre a API e este console. É mostrada uma única vez.";
    keys_none: "There is no key. As soon as there is one, nothing is answered without a key: give the first one the scope admin.", "No hay ninguna clave. En cuanto haya una, nada responde sin clave: dé a la primera el permiso admin.", "Não há nenhuma chave. Assim que houver uma, nada responde sem chave: dê à primeira a permissão admin.";
    create_key: "Make a key", "Crear una clave", "Criar uma chave";
    name: "Name", "Nombre", "Nome";
    scopes: "Opens", "Abre", "Abre";
    scope_add: "Record opt-outs", "Registrar bajas", "Registrar descadastros";
    scope_resubscribe: "Record resubscribes", "Registrar altas", "Registrar recadastros";
    scope_check: "Ask about people, scrub lists", "Consultar personas, depurar listas", "Consultar pessoas, depurar listas";
    scope_export: "List, count, download", "Listar, contar, descargar", "Listar, contar, baixar";
    scope_admin: "Keys, capture, overrides", "Claves, captura, excepciones", "Chaves, captura, exceções";
    expires: "Expires", "Caduca", "Expira";
    never: "never", "nunca", "nunca";
    created: "Made", "Creada", "Criada";
    state: "State", "Estado", "Estado";
    state_live: "live", "activa", "ativa";
    state_revoked: "revoked", "revocada", "revogada";
    state_expired: "expired", "caducada", "expirada";
    key_made: "The key is made. Copy it now: it is not shown again.", "La clave está creada. Cópiela ahora: no se muestra otra vez.", "A chave está criada. Copie agora: não é mostrada de novo.";
    copy: "Copy", "Copiar", "Copiar";
    copied: "Copied", "Copiada", "Copiada";
    revoke: "Revoke", "Revocar", "Revogar";
    revoke_question: "Revoke this key?", "¿Revocar esta clave?", "Revogar esta chave?";
    revoke_help: "It opens nothing from the next second on. This can't be undone.", "Deja de abrir desde el segundo siguiente. No se puede deshacer.", "Deixa de abrir a partir do segundo seguinte. Não pode ser desfeito.";
    revoke_own: "This is the key with which you are signed in.", "Es la clave con la que inició sesión.", "É a chave com que você entrou.";
    cancel: "Cancel", "Cancelar", "Cancelar";
    keys_caption: "Keys, newest first", "Claves, primero la más nueva", "Chaves, da mais nova à mais antiga";

    // Tour.
    sample: "Sample data: nothing of this is in your store", "Datos de ejemplo: nada de esto está en su almacén", "Dados de exemplo: nada disto está no seu armazém";
    tour_step1: "What it does", "Qué hace", "O que faz";
    tour_step2: "Audience", "Audiencia", "Audiência";
    tour_step3: "Scrub", "Depuración", "Depuração";
    tour_step4: "Capture", "Captura", "Captura";
    tour_intro: "A person who says STOP must not get the next campaign. This program keeps who said so, and takes those people out of every list before it is sent.", "Quien dice BAJA no debe recibir la próxima campaña. Este programa guarda quién lo dijo y saca a esas personas de cada lista antes del envío.", "Quem diz SAIR não deve receber a próxima campanha. Este programa guarda quem disse e tira essas pessoas de cada lista antes do envio.";
    tour_point1: "Audience: who opted out, when, how, and on which campaign. Filter, look somebody up, download.", "Audiencia: quién se dio de baja, cuándo, cómo y en qué campaña. Filtre, busque, descargue.", "Audiência: quem se descadastrou, quando, como e em qual campanha. Filtre, busque, baixe.";
    tour_point2: "Scrub: give it a campaign file and get it back without those people, with a report in which every row is accounted for.", "Depuración: entregue el archivo de una campaña y recíbalo sin esas personas, con un informe en el que cada fila cuenta.", "Depuração: entregue o arquivo de uma campanha e receba-o sem essas pessoas, com um relatório em que cada linha conta.";
    tour_point3: "Capture: answers of people are read, and an opt-out is recorded within the second, in nine languages.", "Captura: se leen las respuestas y la baja se registra en el mismo segundo, en nueve idiomas.", "Captura: as respostas são lidas e o descadastro é registrado no mesmo segundo, em nove idiomas.";
    tour_audience: "Four weeks of a made-up business. Each bar is a day, each colour a source.", "Cuatro semanas de una empresa inventada. Cada barra es un día, cada color un origen.", "Quatro semanas de uma empresa inventada. Cada barra é um dia, cada cor uma origem.";
    tour_scrub: "A campaign list of eight rows, scrubbed against the sample data. What can't be read as a number is never sent.", "Una lista de ocho filas, depurada con los datos de ejemplo. Lo que no se lee como número nunca se envía.", "Uma lista de oito linhas, depurada com os dados de exemplo. O que não se lê como número nunca é enviado.";
    tour_capture: "What people wrote, and how it is read. Doubt means that marketing is held.", "Lo que escribió la gente y cómo se lee. Ante la duda, se detiene el marketing.", "O que as pessoas escreveram e como é lido. Na dúvida, o marketing é retido.";
    next: "Next", "Siguiente", "Próximo";
    back: "Back", "Atrás", "Voltar";
    to_audience: "To the real list", "A la lista real", "Para a lista real";
    kept: "Kept", "Conservado", "Mantido";
    invalid: "Invalid", "No válido", "Inválido";
    verdict: "Verdict", "Resultado", "Resultado";
    why: "Why", "Por qué", "Por quê";
    message: "Message", "Mensaje", "Mensagem";
    read_as: "Read as", "Se lee como", "Lido como";
    intent_opt_out: "Opt-out", "Baja", "Descadastro";
    intent_likely: "Probably an opt-out", "Probablemente una baja", "Provavelmente um descadastro";
    intent_opt_in: "Wants messages again", "Quiere mensajes de nuevo", "Quer mensagens de novo";
    intent_help: "Asks for help", "Pide ayuda", "Pede ajuda";
    intent_none: "Something else", "Otra cosa", "Outra coisa";

    // Scrub.
    scrub: "Scrub", "Depuración", "Depuração";
    scrub_intro: "Give a campaign file, get it back without those who opted out.", "Entregue el archivo de una campaña y recíbalo sin quienes se dieron de baja.", "Entregue o arquivo de uma campanha e receba-o sem quem se descadastrou.";
    scrub_form: "A campaign file", "Un archivo de campaña", "Um arquivo de campanha";
    mode: "Exclude opted-out contacts", "Excluir contactos de baja", "Excluir contatos descadastrados";
    mode_enforce: "On", "Sí", "Sim";
    mode_report: "Report only", "Solo informar", "Só relatar";
    mode_off: "Off", "No", "Não";
    category: "Category of the message", "Categoría del mensaje", "Categoria da mensagem";
    category_marketing: "Marketing", "Marketing", "Marketing";
    category_utility: "Utility", "Utilidad", "Utilidade";
    category_authentication: "One-time passwords", "Contraseñas de un solo uso", "Senhas de uso único";
    column: "Column of the numbers", "Columna de los números", "Coluna dos números";
    dedupe: "Take out later rows with the same number", "Quitar filas posteriores con el mismo número", "Remover linhas posteriores com o mesmo número";
    file: "File", "Archivo", "Arquivo";
    file_help: "CSV or another text with delimiters, of any size. The column is found out if it is not named.", "CSV u otro texto con delimitadores, de cualquier tamaño. La columna se detecta si no se indica.", "CSV ou outro texto com delimitadores, de qualquer tamanho. A coluna é detectada se não for indicada.";
    drop_help: "Or drop it here.", "O suéltelo aquí.", "Ou solte-o aqui.";
    no_file: "Choose a file.", "Elija un archivo.", "Escolha um arquivo.";
    scrub_button: "Scrub the file", "Depurar el archivo", "Depurar o arquivo";
    uploading: "Uploading and scrubbing", "Subiendo y depurando", "Enviando e depurando";
    upload_failed: "The upload broke off: try again.", "La subida se interrumpió: inténtelo de nuevo.", "O envio foi interrompido: tente de novo.";
    jobs: "Your scrubs", "Sus depuraciones", "Suas depurações";
    jobs_help: "Kept for an hour, for this key only.", "Se guardan una hora, solo para esta clave.", "Guardadas por uma hora, só para esta chave.";
    job_running: "Running", "En curso", "Em andamento";
    job_done: "Done: every row is accounted for", "Terminado: cada fila está contada", "Pronto: cada linha está contada";
    job_failed: "Failed: nothing may be sent", "Falló: no se debe enviar nada", "Falhou: nada deve ser enviado";
    rows: "Rows", "Filas", "Linhas";
    duplicates: "Duplicates", "Duplicados", "Duplicados";
    invalid_reasons: "Why rows are invalid", "Por qué hay filas no válidas", "Por que há linhas inválidas";
    output_clean: "Clean list", "Lista limpia", "Lista limpa";
    output_suppressed: "Suppressed rows", "Filas suprimidas", "Linhas suprimidas";
    output_invalid: "Invalid rows", "Filas no válidas", "Linhas inválidas";
    output_report: "Report", "Informe", "Relatório";
    delete_job: "Delete", "Eliminar", "Excluir";

    // Capture.
    capture: "Capture", "Captura", "Captura";
    capture_intro: "How answers are read and confirmed, for each sender.", "Cómo se leen y confirman las respuestas, por remitente.", "Como as respostas são lidas e confirmadas, por remetente.";
    senders: "Senders", "Remitentes", "Remetentes";
    senders_none: "No sender is set up. An opt-out that comes in is recorded all the same, and is not confirmed.", "No hay remitentes configurados. Una baja que llega se registra igualmente y no se confirma.", "Nenhum remetente está configurado. Um descadastro que chega é registrado mesmo assim e não é confirmado.";
    no_sender: "None: built-in words only", "Ninguno: solo palabras incluidas", "Nenhum: só palavras incluídas";
    new_sender: "Set a sender up", "Configurar un remitente", "Configurar um remetente";
    capture_on: "on", "activa", "ativa";
    capture_off: "off", "apagada", "desligada";
    try_message: "Try a message", "Pruebe un mensaje", "Teste uma mensagem";
    try_help: "Nothing is recorded or sent.", "No se registra ni se envía nada.", "Nada é registrado nem enviado.";
    try_button: "Read it", "Leerlo", "Ler";
    button_text: "Text of a button", "Texto de un botón", "Texto de um botão";
    evidence: "Evidence", "Evidencia", "Evidência";
    follows_opt_out: "An opt-out would be recorded.", "Se registraría una baja.", "Um descadastro seria registrado.";
    follows_resubscribe: "A resubscribe would be recorded.", "Se registraría un alta.", "Um recadastro seria registrado.";
    follows_nothing: "Nothing would be recorded.", "No se registraría nada.", "Nada seria registrado.";
    confirmation: "Confirmation", "Confirmación", "Confirmação";
    confirmations: "Confirmations", "Confirmaciones", "Confirmações";
    check_template: "Does a template say how to opt out?", "¿Dice una plantilla cómo darse de baja?", "Um modelo diz como se descadastrar?";
    template_body: "Text of the template", "Texto de la plantilla", "Texto do modelo";
    template_footer: "Footer line", "Línea de pie", "Linha de rodapé";
    template_buttons: "Buttons, one a line", "Botones, uno por línea", "Botões, um por linha";
    template_fine: "It has a way out that is understood.", "Tiene una salida que se entiende.", "Tem uma saída que é entendida.";
    check: "Check", "Comprobar", "Verificar";
    capture_switch: "Capture is on for this sender", "La captura está activa para este remitente", "A captura está ativa para este remetente";
    capture_help: "Needs a confirmation for each language. Opt-outs are recorded either way; confirmations and resubscribes need it on.", "Requiere una confirmación por idioma. Las bajas se registran siempre; las confirmaciones y altas requieren que esté activa.", "Requer uma confirmação por idioma. Os descadastros são sempre registrados; confirmações e recadastros requerem que esteja ativa.";
    languages: "Languages", "Idiomas", "Idiomas";
    default_language: "Language if none is known", "Idioma si no se conoce", "Idioma se não for conhecido";
    provider_id: "The provider's name for it", "Nombre que le da el proveedor", "Nome que o provedor lhe dá";
    brand: "Brand", "Marca", "Marca";
    own_words: "Words and buttons of your own", "Palabras y botones propios", "Palavras e botões próprios";
    words: "Words", "Palabras", "Palavras";
    words_help: "A table as the lexicon has it. They add to the built-in ones and never replace them.", "Una tabla como la del léxico. Se suman a las incluidas y nunca las reemplazan.", "Uma tabela como a do léxico. Somam-se às incluídas e nunca as substituem.";
    buttons: "Buttons", "Botones", "Botões";
    buttons_help: "Texts or payloads that are an opt-out, one a line.", "Textos o payloads que son una baja, uno por línea.", "Textos ou payloads que são um descadastro, um por linha.";
    holds_likely: "Record a probable opt-out as one", "Registrar como baja una baja probable", "Registrar como descadastro um descadastro provável";
    opt_in_lifts: "A clear opt-in lifts an opt-out", "Un alta clara levanta una baja", "Um pedido claro de volta remove um descadastro";
    secrets_help: "Provider, delivery and their secrets are set on the command line:", "El proveedor, el envío y sus secretos se configuran en la línea de comandos:", "O provedor, o envio e seus segredos são configurados na linha de comando:";
    save: "Save", "Guardar", "Salvar";
    saved: "The settings are kept.", "La configuración está guardada.", "A configuração está salva.";
    not_saved: "Nothing was kept:", "No se guardó nada:", "Nada foi salvo:";

    // API.
    api_intro: "Every route, from the description at", "Cada ruta, según la descripción en", "Cada rota, conforme a descrição em";
    api_scope: "Scope", "Permiso", "Permissão";
    api_parameters: "Parameters", "Parámetros", "Parâmetros";
    api_body: "Body", "Cuerpo", "Corpo";
    api_example: "Example of a body", "Ejemplo de cuerpo", "Exemplo de corpo";
    api_answers: "Answers", "Respuestas", "Respostas";
    api_kind: "Type", "Tipo", "Tipo";
    api_what: "Meaning", "Significado", "Significado";
    api_needed: "required", "obligatorio", "obrigatório";
    api_any: "Any key", "Cualquier clave", "Qualquer chave";
}

impl Texts {
    pub(super) fn scope(&self, scope: KeyScope) -> &'static str {
        match scope {
            KeyScope::Add => self.scope_add,
            KeyScope::Resubscribe => self.scope_resubscribe,
            KeyScope::Check => self.scope_check,
            KeyScope::Export => self.scope_export,
            KeyScope::Admin => self.scope_admin,
        }
    }

    /// What became of a record; nothing for what is none.
    pub(super) fn outcome(&self, word: &str) -> &'static str {
        match word {
            "added" => self.done_added,
            "already" => self.done_already,
            "resubscribed" => self.done_resubscribed,
            "not-listed" => self.done_not_listed,
            "refused" => self.done_refused,
            _ => "",
        }
    }

    /// What a field of a question is called on the page.
    pub(super) fn field<'a>(&self, field: &'a str) -> &'a str {
        match field {
            "tz" => self.time_zone,
            "from" => self.from,
            "to" => self.to,
            "range" => self.range,
            "clock" => self.clock,
            "view" => self.view,
            "source" => self.source,
            "channel" => self.channel,
            "country" => self.country,
            "number" => self.number,
            "region" => self.region,
            "reason" => self.reason,
            "note" => self.note,
            "campaign" => self.campaign,
            "format" => self.format,
            other => other,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_text_is_empty_or_has_space_around_it() {
        for table in [&ENGLISH, &SPANISH, &PORTUGUESE] {
            for (name, text) in table.all() {
                assert!(!text.is_empty() && text.trim() == text, "{name}");
            }
        }
    }

    #[test]
    fn a_text_ends_alike_in_every_language() {
        for ((name, english), ((_, spanish), (_, portuguese))) in
            ENGLISH.all().into_iter().zip(SPANISH.all().into_iter().zip(PORTUGUESE.all()))
        {
            for end in ['.', '?', ':'] {
                let ends = [english, spanish, portuguese].map(|text| text.ends_with(end));
                assert!(ends == [ends[0]; 3], "{name}");
            }
        }
    }
}
