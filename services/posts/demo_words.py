"""The words of the demo content."""

from typing import NamedTuple


class Language(NamedTuple):
    """Words, what stands between them, and what ends a sentence."""

    words: tuple[str, ...]
    space: str = " "
    stop: str = "."


_ENGLISH = """
river lantern harbour morning window kettle garden letter bridge winter orchard compass paper engine
forest signal copper island meadow ticket market thunder pencil bakery station feather candle mirror
walks carries opens finds repairs paints gathers follows answers measures keeps borrows forgets
quiet narrow golden early patient hollow bright distant wooden careful the a with under before
"""
_GERMAN = """
fluss laterne hafen morgen fenster kessel garten brücke straße wälder äpfel kompass zug möwe schlüssel
löffel brötchen gewitter bäckerei bahnhof spiegel feder küche tür größe öfen trägt öffnet findet malt
sammelt folgt misst behält vergisst ruhig schmal golden früh geduldig hohl hell fern hölzern der die das mit
"""
_SPANISH = """
río linterna puerto mañana ventana jardín carta puente invierno brújula papel motor bosque señal isla
pradera mercado trueno lápiz panadería estación pluma vela espejo niño camino abre encuentra pinta recoge
sigue responde mide guarda olvida tranquilo estrecho dorado temprano paciente hueco lejano con bajo antes
"""
_RUSSIAN = """
река фонарь гавань утро окно чайник сад письмо мост зима компас бумага лес сигнал остров луг рынок гром
карандаш пекарня станция перо свеча зеркало ёлка несёт открывает находит чинит рисует собирает отвечает
хранит забывает тихий узкий золотой ранний далёкий деревянный осторожный под перед через вместе
"""
_GREEK = """
ποτάμι φανάρι λιμάνι πρωί παράθυρο κήπος γράμμα γέφυρα χειμώνας πυξίδα χαρτί δάσος σήμα νησί λιβάδι αγορά
βροντή μολύβι φούρνος σταθμός φτερό κερί καθρέφτης ανοίγει βρίσκει ζωγραφίζει μαζεύει ακολουθεί απαντά
μετρά κρατά ξεχνά ήσυχος στενός χρυσός μακρινός ξύλινος με κάτω πριν μαζί
"""
_ARABIC = """
نهر فانوس ميناء صباح نافذة حديقة رسالة جسر شتاء بوصلة ورق غابة إشارة جزيرة مرج سوق رعد قلم مخبز محطة ريشة
شمعة مرآة يحمل يفتح يجد يصلح يرسم يجمع يتبع يجيب يقيس يحفظ ينسى هادئ ضيق ذهبي مبكر صبور بعيد خشبي مع تحت قبل
"""
_HEBREW = """
נהר פנס נמל בוקר חלון קומקום גינה מכתב גשר חורף מצפן נייר יער אות אי אחו שוק רעם עיפרון מאפייה תחנה נוצה
נר מראה נושא פותח מוצא מתקן מצייר אוסף עונה מודד שומר שוכח שקט צר זהוב מוקדם סבלני רחוק עם תחת לפני
"""
_HINDI = """
नदी लालटेन बंदरगाह सुबह खिड़की बगीचा चिट्ठी पुल सर्दी कंपास काग़ज़ जंगल संकेत द्वीप मैदान बाज़ार गरज पेंसिल
बेकरी स्टेशन पंख मोमबत्ती दर्पण खोलता पाता बनाता चुनता नापता रखता भूलता शांत सँकरा सुनहरा दूर लकड़ी के साथ पहले
"""
_JAPANESE = """
川 灯り 港 朝 窓 やかん 庭 手紙 橋 冬 羅針盤 紙 エンジン 森 信号 島 草原 切符 市場 雷 鉛筆 パン屋 駅 羽 ろうそく 鏡
歩く 運ぶ 開く 見つける 直す 描く 集める 答える 測る 忘れる 静かな 細い 金色の 早い 遠い 木の そして まだ
"""
_KOREAN = """
강 등불 항구 아침 창문 주전자 정원 편지 다리 겨울 나침반 종이 숲 신호 섬 초원 시장 천둥 연필 빵집 역 깃털 촛불
거울 걷는다 나른다 연다 찾는다 고친다 그린다 모은다 답한다 잰다 잊는다 조용한 좁은 금빛 이른 먼 나무로 그리고
"""
_EMOJI = "🌊 🏮 ⚓ 🌅 🪟 🫖 🌱 ✉️ 🌉 ❄️ 🧭 📄 🚂 🌲 🚦 🏝️ 🎫 ⛈️ ✏️ 🥐 🚉 🪶 🕯️ 🪞 👩‍🌾 👨‍👩‍👧 🇬🇷 wow yes no"

LANGUAGES = (
    *(Language(tuple(words.split())) for words in (_ENGLISH, _GERMAN, _SPANISH, _RUSSIAN, _GREEK, _ARABIC, _HEBREW)),
    Language(tuple(_HINDI.split()), stop="।"),
    Language(tuple(_JAPANESE.split()), space="", stop="。"),
    Language(tuple(_KOREAN.split())),
    Language(tuple(_EMOJI.split()), stop="!"),
)

_TAGS = """
travel cooking gardens weather trains letters maps winter harbour music woodwork birds photography reading
repair walking markets bread islands light Brücken Äpfel Küche jardín señales природа сад музыка книги
ταξίδια μουσική κήπος سفر موسيقى حديقة מסע ספרים यात्रा संगीत 旅行 料理 音楽 写真 여행 음악 사진 🌱 🚂
"""
TAGS = tuple(_TAGS.split())
