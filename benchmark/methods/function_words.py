"""English function words, which carry grammar rather than meaning; methods that replace words skip them."""

_ARTICLES = "a an the"
_PRONOUNS = (
    "i me my mine myself we us our ours ourselves you your yours yourself yourselves he him his himself she her hers "
    "herself it its itself they them their theirs themselves this that these those who whom whose which what "
    "one ones each every either neither both all any some none no another other others such same own"
)
_VERBS = (
    "am is are was were be been being have has had having do does did doing can could may might must shall should "
    "will would"
)
_PREPOSITIONS = (
    "about above across after against along among around as at before behind below beneath beside between beyond by "
    "despite down during except for from in inside into like near of off on onto out outside over past per since "
    "than through throughout till to toward towards under until up upon via with within without"
)
_CONJUNCTIONS = "and but or nor so yet if because although though while whereas unless when where whether how why"
_ADVERBS = "not very too also just only then there here now again more most"

FUNCTION_WORDS = frozenset(" ".join((_ARTICLES, _PRONOUNS, _VERBS, _PREPOSITIONS, _CONJUNCTIONS, _ADVERBS)).split())
PREPOSITIONS = frozenset(_PREPOSITIONS.split())
CONJUNCTIONS = frozenset(_CONJUNCTIONS.split())
