"""What an agent says by itself and writes to its thinker: a few sentences in the languages of most calls, and prompts.

Owns words and nothing else. A language that is not here is served in English, which the caller may say for itself.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from gateway.speech import languages
from gateway.speech.passages import Passage

_PHRASES: Final[dict[str, dict[str, str]]] = {
    "trouble": {
        "de": "Entschuldigung, da ist etwas schiefgegangen. Bitte sagen Sie das noch einmal.",
        "en": "Sorry, something went wrong. Please say that again.",
        "es": "Disculpe, algo ha fallado. Por favor, repítalo.",
        "fr": "Désolé, il y a eu un problème. Veuillez répéter, s'il vous plaît.",
        "it": "Mi scusi, qualcosa è andato storto. Può ripetere, per favore?",
        "nl": "Sorry, er ging iets mis. Kunt u dat nog een keer zeggen?",
        "pl": "Przepraszam, coś poszło nie tak. Proszę powtórzyć.",
        "pt": "Desculpe, algo correu mal. Por favor, repita.",
        "tr": "Üzgünüm, bir sorun oldu. Lütfen tekrar söyleyin.",
    },
    "unknown": {
        "de": "Dazu habe ich nichts gefunden. Können Sie es anders sagen?",
        "en": "I have found nothing about that. Can you say it in other words?",
        "es": "No he encontrado nada sobre eso. ¿Puede decirlo con otras palabras?",
        "fr": "Je n'ai rien trouvé à ce sujet. Pouvez-vous le dire autrement ?",
        "it": "Non ho trovato nulla al riguardo. Può dirlo con altre parole?",
        "nl": "Daar heb ik niets over gevonden. Kunt u het anders zeggen?",
        "pl": "Nic na ten temat nie znalazłem. Czy można powiedzieć to inaczej?",
        "pt": "Não encontrei nada sobre isso. Pode dizer por outras palavras?",
        "tr": "Bununla ilgili bir şey bulamadım. Başka sözcüklerle söyler misiniz?",
    },
    "welcome": {
        "de": "Was möchten Sie wissen?",
        "en": "What would you like to know?",
        "es": "¿Qué desea saber?",
        "fr": "Que voulez-vous savoir ?",
        "it": "Che cosa vuole sapere?",
        "nl": "Wat wilt u weten?",
        "pl": "O co chodzi?",
        "pt": "O que deseja saber?",
        "tr": "Ne öğrenmek istersiniz?",
    },
    "unreachable": {
        "de": "Leider ist gerade niemand zu erreichen.",
        "en": "I am sorry, nobody can be reached right now.",
        "es": "Lo siento, ahora mismo no hay nadie disponible.",
        "fr": "Je suis désolé, personne n'est joignable pour le moment.",
        "it": "Mi dispiace, al momento non c'è nessuno disponibile.",
        "nl": "Het spijt me, er is nu niemand bereikbaar.",
        "pl": "Niestety nikt nie jest teraz dostępny.",
        "pt": "Lamento, neste momento ninguém está disponível.",
        "tr": "Üzgünüm, şu anda kimseye ulaşılamıyor.",
    },
}

_SPOKEN: Final = (
    "You are on the telephone: what you write is spoken to the caller as you write it, and what they say reaches you "
    "through speech recognition, which may mishear. Answer in {language}, in a few short sentences, without lists, "
    "markup or emoji. Ask back when what you read makes no sense."
)
_FROM_DOCUMENTS: Final = (
    "Answer the caller's question from the passages below and from nothing else. When they do not hold the answer, say "
    "that you do not know. Do not read out names of files."
)


def phrase(name: str, language: str) -> tuple[str, str]:
    """One of our own sentences: its language and its text."""
    known = _PHRASES[name]
    code = languages.base(language)
    return (language, known[code]) if code in known else ("en", known["en"])


def for_agent(instructions: str, language: str) -> str:
    """The system prompt of an `ai_agent`."""
    return f"{instructions.strip()}\n\n{_SPOKEN.format(language=languages.name(language))}"


def for_help(instructions: str, passages: Sequence[Passage], language: str) -> str:
    """The system prompt of a `help_chat_voice` answer."""
    parts = [instructions.strip(), _FROM_DOCUMENTS, _SPOKEN.format(language=languages.name(language))]
    if not passages:
        parts.append("There is no passage that fits the question.")
    for number, passage in enumerate(passages, 1):
        parts.append(f"[{number}] {passage.where}\n{passage.text}")
    return "\n\n".join(part for part in parts if part)
