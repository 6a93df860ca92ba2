"""The names, places and phone numbers that `make_sample_data.py` draws from.

Telephone numbers come from ranges that a regulator keeps for fiction where there is one (Australia,
Canada, France, Germany, Ireland, Sweden, the United Kingdom, the United States). Elsewhere the
subscriber's number begins with zeros or fives that, as far as we know, are not given out.
"""

# ruff: noqa: RUF001 - letters of many scripts are the point here
from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Locale:
    """People of one country and language.

    Names are separated by `|`. A name that is not in Latin letters is followed by `=` and the
    spelling its bearer uses in an e-mail address. In a phone number `#` stands for any digit.
    """

    language: str
    weight: int
    countries: tuple[str, ...]  # the first is the usual spelling
    offsets: tuple[str, ...]  # UTC offsets, as ISO 8601 writes them
    given: str
    family: str
    cities: str
    phones: str
    family_first: bool = False


EUROPE = ("+01:00", "+02:00")

LOCALES = (
    Locale(
        language="en-GB",
        weight=12,
        countries=("United Kingdom", "UK", "GB", "Great Britain"),
        offsets=("Z", "+00:00", "+01:00"),
        given="Oliver|Amelia|George|Isla|Harry|Ava|Noah|Mia|Siân|Zoë|Chloë|Alfie|Priya|Mohammed",
        family="Smith|Jones|Taylor|O'Brien|Brontë|Hughes|Clarke|Patel|Wright|Khan|Lloyd-Jones|Hall",
        cities="London|Manchester|Edinburgh|Leeds|Cardiff|Newcastle upon Tyne|St Albans",
        phones="+44 20 7946 0###|020 7946 0###|07700 900###|+44 7700 900###|0161 496 0###",
    ),
    Locale(
        language="en-US",
        weight=16,
        countries=("United States", "USA", "US", "United States of America"),
        offsets=("-05:00", "-06:00", "-07:00", "-08:00", "-04:00"),
        given="James|Mary|Liam|Emma|José|Sofía|Mason|Ella|Renée|D'Andre|Logan|Aaliyah|Mary-Kate|Bo",
        family="Johnson|Williams|García|Martinez|O’Neill|Davis|Nguyen|Washington|Lee|McDonald|Ng",
        cities="New York|Chicago|Houston|San José|Boise|St. Louis|Coeur d'Alene|Honolulu",
        phones="+1 212-555-01##|(312) 555-01##|713.555.01##|+1 (408) 555-01##|20255501##",
    ),
    Locale(
        language="fr-CA",
        weight=5,
        countries=("Canada", "CA"),
        offsets=("-05:00", "-04:00", "-03:30"),
        given="Félix|Léa|Émile|Rosalie|Benoît|Maïka|Étienne|Océane|Loïc|Ariane",
        family="Tremblay|Gagnon|Côté|Bouchard|Lévesque|St-Pierre|Bélanger|Desjardins|L'Écuyer",
        cities="Montréal|Québec|Toronto|Trois-Rivières|St. John's|Vancouver",
        phones="+1 514-555-01##|(418) 555-01##|416-555-01##",
    ),
    Locale(
        language="en-AU",
        weight=5,
        countries=("Australia", "AU"),
        offsets=("+10:00", "+11:00", "+09:30", "+08:00"),
        given="Jack|Charlotte|William|Matilda|Lachlan|Ruby|Angus|Kirra|Archie|Evie",
        family="Wilson|Kelly|O'Sullivan|Campbell|Singh|Fraser|Chen|Murphy|Ryan",
        cities="Sydney|Melbourne|Perth|Wagga Wagga|Hobart|Brisbane",
        phones="(02) 5550 ####|+61 3 5550 ####|0491 570 006|+61 491 570 156|(07) 7010 ####",
    ),
    Locale(
        language="en-IE",
        weight=3,
        countries=("Ireland", "Éire"),
        offsets=("Z", "+01:00"),
        given="Aoife|Seán|Niamh|Cian|Róisín|Pádraig|Saoirse|Oisín|Gráinne|Tadhg",
        family="Murphy|Ó Súilleabháin|Byrne|Ní Bhriain|Doyle|Mac Cárthaigh|Walsh",
        cities="Dublin|Corcaigh|Galway|Dún Laoghaire|Limerick",
        phones="+353 20 91# ####|020 91# ####",
    ),
    Locale(
        language="de-DE",
        weight=12,
        countries=("Germany", "Deutschland", "DE"),
        offsets=EUROPE,
        given="Jürgen|Lena|Björn|Käthe|Thomas|Jörg|Mia|Günther|Sophie|Maximilian|Anna-Lena|Özlem",
        family="Müller|Mueller|Schmidt|Weiß|Weiss|Schröder|Groß|von der Heide|Köhler|Böhm|Yılmaz",
        cities="Berlin|München|Köln|Frankfurt am Main|Hamburg|Saarbrücken|Lübeck",
        phones="+49 30 23125 ###|069 90009###|+49 (0)89 99998-###|040/66969###|0221 4710 ###",
    ),
    Locale(
        language="de-AT",
        weight=3,
        countries=("Austria", "Österreich", "AT"),
        offsets=EUROPE,
        given="Matthäus|Hannah|Jörg|Valentina|Florian|Elfriede|Lukas|Theresia",
        family="Gruber|Huber|Wäger|Steiner|Moser|Größwang|Pichler",
        cities="Wien|Graz|Linz|Sankt Pölten|Mödling",
        phones="+43 1 000 0###|01 000 0###",
    ),
    Locale(
        language="fr-FR",
        weight=9,
        countries=("France", "FR"),
        offsets=EUROPE,
        given="Jean-Luc|Chloé|François|Inès|Hélène|Théo|Maëlle|Anaïs|Raphaël|Zoé|Gaël|Camille",
        family="Lefèvre|Martin|Lefebvre|D’Aubigné|Bernard|Dubois|Nuñez|Guérin|de La Tour|Benoît",
        cities="Paris|Lyon|Besançon|Orléans|L'Haÿ-les-Roses|Nîmes|Marseille",
        phones="+33 1 99 00 ## ##|01 99 00 ## ##|06 39 98 ## ##|+33 6 39 98 ## ##|0465 71 ## ##",
    ),
    Locale(
        language="sv-SE",
        weight=4,
        countries=("Sweden", "Sverige", "SE"),
        offsets=EUROPE,
        given="Åsa|Björn|Märta|Göran|Elsa|Örjan|Linnéa|Håkan|Maja|Nils",
        family="Lindström|Åkesson|Sjöberg|Öberg|Nyström|Andersson|Bergqvist",
        cities="Stockholm|Malmö|Göteborg|Umeå|Växjö",
        phones="+46 8 465 004 ##|08-465 004 ##|031-390 06 1#|070-174 06 3#",
    ),
    Locale(
        language="da-DK",
        weight=3,
        countries=("Denmark", "Danmark", "DK"),
        offsets=EUROPE,
        given="Søren|Freja|Jørgen|Kåre|Astrid|Bjørn|Sofie|Aksel",
        family="Sørensen|Nørgaard|Kjær|Møller|Hansen|Ølgaard|Brødsgård",
        cities="København|Aarhus|Ærøskøbing|Næstved|Helsingør",
        phones="+45 00 00 0# ##|00000###",
    ),
    Locale(
        language="is-IS",
        weight=1,
        countries=("Iceland", "Ísland"),
        offsets=("Z",),
        given="Þórdís|Björk|Guðmundur|Ægir|Sigríður|Hörður",
        family="Jónsdóttir|Þórsson|Einarsdóttir|Guðjónsson|Ísaksen",
        cities="Reykjavík|Ísafjörður|Þórshöfn|Akureyri",
        phones="+354 000 0###",
    ),
    Locale(
        language="fi-FI",
        weight=2,
        countries=("Finland", "Suomi"),
        offsets=("+02:00", "+03:00"),
        given="Väinö|Aino|Jörn|Päivi|Eero|Hämeen-Liisa|Onni|Kyösti",
        family="Hämäläinen|Mäkelä|Väisänen|Niemi|Öhman|Lehtonen",
        cities="Helsinki|Jyväskylä|Hämeenlinna|Tampere",
        phones="+358 9 000 0###|09 0000 ###",
    ),
    Locale(
        language="nl-NL",
        weight=4,
        countries=("Netherlands", "The Netherlands", "Nederland", "NL"),
        offsets=EUROPE,
        given="Daan|Saskia|Joëlle|Sander|Fenna|Renée|Thijs|Noor|Gijsbert",
        family="de Vries|van den Berg|Jansen|'t Hooft|Bakker|van 't Hek|Coëlho",
        cities="Amsterdam|'s-Hertogenbosch|Utrecht|Den Haag|Coevorden",
        phones="+31 20 000 0###|020-000 0###",
    ),
    Locale(
        language="es-ES",
        weight=6,
        countries=("Spain", "España", "ES"),
        offsets=EUROPE,
        given="José|Lucía|Íñigo|María del Carmen|Ángel|Begoña|Nicolás|Sofía|Iván|Itziar",
        family="García|Muñoz López|Ibáñez|Rodríguez|Peña|Núñez de Balboa|Gómez y Ruiz|Sánchez",
        cities="Madrid|A Coruña|Málaga|Cádiz|L'Hospitalet de Llobregat",
        phones="+34 555 000 ###|555 00 0# ##",
    ),
    Locale(
        language="es-MX",
        weight=4,
        countries=("Mexico", "México", "MX"),
        offsets=("-06:00", "-07:00"),
        given="Guadalupe|Jesús|Ximena|Moisés|Belén|Raúl|Inés|Ramón",
        family="Hernández|Pérez Gutiérrez|Ávila|Zúñiga|Domínguez|Treviño",
        cities="Ciudad de México|Mérida|Querétaro|Cancún",
        phones="+52 55 0000 0###|(33) 0000-0###",
    ),
    Locale(
        language="pt-BR",
        weight=5,
        countries=("Brazil", "Brasil", "BR"),
        offsets=("-03:00", "-04:00"),
        given="João|Conceição|Luís|Antônia|Fábio|Mônica|Otávio|Beatriz|Íris",
        family="Araújo|da Conceição|Gonçalves|Simões|Magalhães|dos Santos|Brandão",
        cities="São Paulo|Brasília|Florianópolis|Maceió|Belém",
        phones="+55 11 00000-0###|(61) 0000-0###",
    ),
    Locale(
        language="it-IT",
        weight=5,
        countries=("Italy", "Italia", "IT"),
        offsets=EUROPE,
        given="Niccolò|Giulia|Mosè|Zoè|Lorenzo|Benedetta|Dafne|Gioacchino",
        family="Rossi|D'Angelo|De Luca|Nicolò|Bianchi|Lo Presti|Cantù",
        cities="Roma|Forlì|L'Aquila|Cefalù|Milano",
        phones="+39 06 0000 0###|06 00000###",
    ),
    Locale(
        language="pl-PL",
        weight=4,
        countries=("Poland", "Polska", "PL"),
        offsets=EUROPE,
        given="Łukasz|Małgorzata|Paweł|Żaneta|Michał|Agnieszka|Grażyna|Świętosława",
        family="Wiśniewski|Wójcik|Kowalczyk-Żak|Zieliński|Łęcki|Dąbrowska|Źrebiec",
        cities="Łódź|Kraków|Gdańsk|Poznań|Białystok",
        phones="+48 22 000 0# ##|22 000 0###",
    ),
    Locale(
        language="cs-CZ",
        weight=3,
        countries=("Czechia", "Czech Republic", "Česko"),
        offsets=EUROPE,
        given="Jiří|Kateřina|Tomáš|Žofie|Ondřej|Božena|Matěj|Eliška",
        family="Dvořák|Němcová|Šťastný|Příhoda|Růžičková|Kučera",
        cities="Praha|Plzeň|Ústí nad Labem|České Budějovice",
        phones="+420 000 000 ###",
    ),
    Locale(
        language="hu-HU",
        weight=2,
        countries=("Hungary", "Magyarország"),
        offsets=EUROPE,
        given="Győző|Zsófia|Ágoston|Ibolya|Lőrinc|Réka|Benedek",
        family="Kovács|Szőke|Németh|Szűcs|Körösi|Csíkszentmihályi",
        cities="Budapest|Győr|Hódmezővásárhely|Pécs",
        phones="+36 1 000 0###",
        family_first=True,
    ),
    Locale(
        language="ro-RO",
        weight=2,
        countries=("Romania", "România"),
        offsets=("+02:00", "+03:00"),
        given="Ștefan|Ileana|Mălina|Gheorghiță|Ioniță|Ţuţea|Andreea",
        family="Popescu|Ionescu|Brâncuși|Țepeș|Ştefănescu|Câmpeanu",
        cities="București|Iași|Timișoara|Cluj-Napoca",
        phones="+40 21 000 0###",
    ),
    Locale(
        language="tr-TR",
        weight=3,
        countries=("Türkiye", "Turkey", "TR"),
        offsets=("+03:00",),
        given="İbrahim|Işıl|Çağla|Gülşen|Özgür|Şeyma|Ümit|Ayşe",
        family="Yılmaz|Çelik|Şahin|Öztürk|Güneş|Ağaoğlu|Kılıç",
        cities="İstanbul|Diyarbakır|Çanakkale|Eskişehir|İzmir",
        phones="+90 212 000 0# ##|0212 000 0###",
    ),
    Locale(
        language="vi-VN",
        weight=3,
        countries=("Vietnam", "Việt Nam"),
        offsets=("+07:00",),
        given="Thị Hương|Văn Đức|Ngọc Ánh|Minh Tuấn|Quỳnh Như|Hữu Phước|Bảo Trân",
        family="Nguyễn|Trần|Đặng|Phạm|Võ|Huỳnh|Lê",
        cities="Hà Nội|Thành phố Hồ Chí Minh|Đà Nẵng|Huế",
        phones="+84 24 0000 0###",
        family_first=True,
    ),
    Locale(
        language="ru-RU",
        weight=5,
        countries=("Russia", "Россия", "Russian Federation"),
        offsets=("+03:00", "+05:00", "+07:00"),
        given=(
            "Иван=ivan|Ольга=olga|Алексей=aleksey|Екатерина=ekaterina|Фёдор=fedor|Юлия=yulia"
            "|Сергей=sergey|Любовь=lyubov"
        ),
        family=(
            "Иванов=ivanov|Смирнова=smirnova|Щербакова=shcherbakova|Кузнецов=kuznetsov"
            "|Соловьёв=solovyov|Попов=popov|Римский-Корсаков=rimsky-korsakov"
        ),
        cities="Москва|Санкт-Петербург|Екатеринбург|Орёл|Ростов-на-Дону",
        phones="+7 (495) 000-0#-##|8 812 000 0###",
    ),
    Locale(
        language="uk-UA",
        weight=3,
        countries=("Ukraine", "Україна"),
        offsets=("+02:00", "+03:00"),
        given="Олена=olena|Тарас=taras|Наталія=nataliia|Михайло=mykhailo|Євген=yevhen|Ґалина=galyna",
        family="Шевченко=shevchenko|Коваленко=kovalenko|Їжак=yizhak|Лук'яненко=lukianenko|Бойко=boiko",
        cities="Київ|Львів|Одеса|Чернівці|Запоріжжя",
        phones="+380 44 000 0# ##",
    ),
    Locale(
        language="el-GR",
        weight=4,
        countries=("Greece", "Ελλάδα", "GR"),
        offsets=("+02:00", "+03:00"),
        given=(
            "Γιώργος=giorgos|Ελένη=eleni|Κωνσταντίνος=konstantinos|Αικατερίνη=aikaterini"
            "|Δημήτρης=dimitris|Ζωή=zoi|Χρήστος=christos"
        ),
        family=(
            "Παπαδόπουλος=papadopoulos|Γεωργίου=georgiou|Οικονόμου=oikonomou|Νικολαΐδης=nikolaidis"
            "|Αντωνίου=antoniou|Βλάχος=vlachos"
        ),
        cities="Αθήνα|Θεσσαλονίκη|Πάτρα|Ηράκλειο|Χανιά",
        phones="+30 210 000 0###|2310 000 ###",
    ),
    Locale(
        language="ar-EG",
        weight=4,
        countries=("Egypt", "مصر"),
        offsets=("+02:00", "+03:00"),
        given=(
            "أحمد=ahmed|فاطمة=fatma|محمود=mahmoud|مريم=mariam|عبد الرحمن=abdelrahman|هبة=heba"
            "|يوسف=youssef"
        ),
        family=(
            "حسن=hassan|السيد=elsayed|عبد الله=abdallah|الشريف=elsherif|إبراهيم=ibrahim"
            "|منصور=mansour"
        ),
        cities="القاهرة|الإسكندرية|أسوان|الأقصر",
        phones="+20 2 0000 0###",
    ),
    Locale(
        language="ar-SA",
        weight=3,
        countries=("Saudi Arabia", "السعودية", "KSA"),
        offsets=("+03:00",),
        given="خالد=khalid|نورة=noura|سلطان=sultan|ريم=reem|عبدالعزيز=abdulaziz|لطيفة=latifa",
        family="القحطاني=alqahtani|العتيبي=alotaibi|الحربي=alharbi|الدوسري=aldossary",
        cities="الرياض|جدة|الدمام|المدينة المنورة",
        phones="+966 11 000 0###",
    ),
    Locale(
        language="he-IL",
        weight=4,
        countries=("Israel", "ישראל"),
        offsets=("+02:00", "+03:00"),
        given="יוסי=yossi|רחל=rachel|דניאל=daniel|נועה=noa|אברהם=avraham|תמר=tamar|צ׳רלי=charlie",
        family="כהן=cohen|לוי=levi|מזרחי=mizrahi|בן־דוד=ben-david|פרידמן=friedman|שפירא=shapira",
        cities="תל אביב-יפו|ירושלים|חיפה|באר שבע",
        phones="+972 3-000-0###|03-000-0###",
    ),
    Locale(
        language="hi-IN",
        weight=6,
        countries=("India", "भारत", "IN"),
        offsets=("+05:30",),
        given=(
            "आरव=aarav|प्रिया=priya|राजेश=rajesh|श्रेया=shreya|विक्रम=vikram|अनुष्का=anushka|कृष्ण=krishna"
        ),
        family="शर्मा=sharma|वर्मा=verma|त्रिपाठी=tripathi|सिंह=singh|श्रीवास्तव=srivastava|गुप्ता=gupta",
        cities="मुंबई|नई दिल्ली|जयपुर|वाराणसी|Bengaluru",
        phones="+91 00000 00###|022 0000 0###",
    ),
    Locale(
        language="th-TH",
        weight=4,
        countries=("Thailand", "ประเทศไทย"),
        offsets=("+07:00",),
        given="สมชาย=somchai|กัญญา=kanya|ณัฐพล=nattapon|สุดารัตน์=sudarat|ธนพร=thanaporn|อนันต์=anan",
        family="ศรีสุข=srisuk|แสงทอง=saengthong|วงศ์สวัสดิ์=wongsawat|บุญมี=boonmee|ใจดี=jaidee",
        cities="กรุงเทพมหานคร|เชียงใหม่|ขอนแก่น|ภูเก็ต",
        phones="+66 2 000 0###|02-000-0###",
    ),
    Locale(
        language="ja-JP",
        weight=7,
        countries=("Japan", "日本", "JP"),
        offsets=("+09:00",),
        given="太郎=taro|花子=hanako|健一=kenichi|さくら=sakura|翔=sho|美咲=misaki|ジュン=jun|𠮷平=kippei",
        family="佐藤=sato|鈴木=suzuki|高橋=takahashi|髙橋=takahashi|渡邊=watanabe|渡辺=watanabe|小笠原=ogasawara",
        cities="東京|大阪市|札幌市|京都市|那覇市",
        phones="+81 3-0000-0###|03-0000-0###|0600000###",
        family_first=True,
    ),
    Locale(
        language="zh-CN",
        weight=6,
        countries=("China", "中国", "PRC"),
        offsets=("+08:00",),
        given="伟=wei|芳=fang|秀英=xiuying|子轩=zixuan|雨桐=yutong|建国=jianguo|娜=na",
        family="王=wang|李=li|张=zhang|刘=liu|欧阳=ouyang|赵=zhao|诸葛=zhuge",
        cities="北京|上海|广州|深圳|成都",
        phones="+86 10 0000 0###|010-00000###",
        family_first=True,
    ),
    Locale(
        language="zh-TW",
        weight=3,
        countries=("Taiwan", "台灣"),
        offsets=("+08:00",),
        given="志明=chihming|淑芬=shufen|冠宇=kuanyu|怡君=yichun|承恩=chengen",
        family="陳=chen|林=lin|黃=huang|張簡=changchien|劉=liu|蔡=tsai",
        cities="臺北|台中|高雄|台南",
        phones="+886 2 0000 0###|02-0000-0###",
        family_first=True,
    ),
    Locale(
        language="ko-KR",
        weight=5,
        countries=("South Korea", "대한민국", "Korea, Republic of"),
        offsets=("+09:00",),
        given="민준=minjun|서연=seoyeon|지훈=jihoon|하은=haeun|영숙=youngsook|도윤=doyun",
        family="김=kim|이=lee|박=park|최=choi|남궁=namgung|정=jung",
        cities="서울|부산|인천|대구|제주",
        phones="+82 2-0000-0###|02-0000-0###",
        family_first=True,
    ),
)

NOTES = (
    "Prefers e-mail to phone.",
    "Asked for the new catalogue at the trade fair; follow up in spring.",
    "Moved recently, check the address before the next parcel.",
    "Bought the espresso machine & the grinder together.",
    'Calls herself "the tea person" — loves oolong.',
    "Allergic to nuts: no sample packs.",
    "VIP ☕️ sent a thank-you card 🎉",
    "First line of an address label\nsecond line\nthird line",
    "Paid with a <gift card>; receipt no. 4711/B; 100 % satisfied",
    "semi;colons, commas, | pipes | and\ttabs survive the trip",
)

# By the first two letters of a locale's language.
LOCAL_NOTES = {
    "ar": "يفضل التواصل باللغة العربية.",
    "de": "Kündigte das Abo, kam nach drei Wochen zurück.",
    "el": "Προτιμά επικοινωνία στα ελληνικά.",
    "es": "Quiere factura a nombre de la empresa.",
    "fr": "Préfère être livrée le samedi, après 14 h.",
    "he": "מבקשת הודעות בעברית בלבד.",
    "hi": "सुबह 10 बजे के बाद ही फ़ोन करें।",
    "ja": "配送は平日の午前中を希望。",
    "ko": "평일 오전에만 연락 주세요.",
    "ru": "Перезвонить после 18:00, лучше по будням.",
    "th": "ต้องการใบกำกับภาษีเต็มรูปแบบ",
    "zh": "请在工作日联系，谢谢！",
}

LONG_NOTE = (
    "Met at the roasters' evening. Has run a small café since 2011, buys green beans for the home "
    "roaster and wants to hear of each new harvest; no discounts by e-mail, please. "
)
