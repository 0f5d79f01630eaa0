import com.sun.net.httpserver.HttpExchange;
import com.sun.net.httpserver.HttpServer;
import java.io.ByteArrayOutputStream;
import java.io.IOException;
import java.net.InetSocketAddress;
import java.net.URI;
import java.net.URLEncoder;
import java.net.http.HttpClient;
import java.net.http.HttpRequest;
import java.net.http.HttpRequest.BodyPublishers;
import java.net.http.HttpResponse;
import java.net.http.HttpResponse.BodyHandlers;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.security.GeneralSecurityException;
import java.security.MessageDigest;
import java.time.Duration;
import java.time.Instant;
import java.util.Base64;
import java.util.List;
import java.util.Set;
import java.util.UUID;
import java.util.concurrent.BlockingQueue;
import java.util.concurrent.Executors;
import java.util.concurrent.LinkedBlockingQueue;
import java.util.concurrent.TimeUnit;
import java.util.regex.Matcher;
import java.util.regex.Pattern;
import javax.crypto.Mac;
import javax.crypto.spec.SecretKeySpec;

/**
 * Posts a recording, receives the webhook, checks its signature, and prints the dialogue.
 *
 * <pre>WEBHOOK_SECRET=whsec_... java Callscribe.java call.wav crm-48151</pre>
 *
 * It needs JDK 17 and nothing else. ../README.md describes the environment variables. The JDK has no JSON parser, so this
 * program reads single fields with a regular expression. Use Jackson or Gson if your program has one of them.
 */
public final class Callscribe {
    private static final String API_URL = setting("API_URL", "http://127.0.0.1:8000");
    private static final String API_KEY = setting("API_KEY", "");
    private static final int PORT = Integer.parseInt(setting("PORT", "9000"));
    private static final String WEBHOOK_URL = setting("WEBHOOK_URL", "http://127.0.0.1:" + PORT + "/");
    private static final String WEBHOOK_SECRET = setting("WEBHOOK_SECRET", "");
    private static final Duration PATIENCE = Duration.ofMinutes(10);
    private static final long TOLERANCE_SECONDS = 300;
    private static final int TRIES = 6;
    private static final Set<Integer> BUSY = Set.of(429, 503, 507);

    private final HttpClient client = HttpClient.newHttpClient();
    private final BlockingQueue<String> events = new LinkedBlockingQueue<>();

    /** The message says why there is no dialogue. */
    private static final class CallFailed extends Exception {
        CallFailed(String message) {
            super(message);
        }
    }

    public static void main(String[] arguments) throws Exception {
        if (arguments.length != 2 || WEBHOOK_SECRET.isEmpty()) {
            System.err.println("usage: WEBHOOK_SECRET=whsec_... java Callscribe.java RECORDING CALL_ID");
            System.exit(2);
        }
        try {
            System.out.print(new Callscribe().dialogue(Path.of(arguments[0]), arguments[1]));
        } catch (CallFailed | IOException error) {
            System.err.println(error.getMessage());
            System.exit(1);
        }
    }

    private String dialogue(Path recording, String callId) throws CallFailed, IOException, InterruptedException {
        HttpServer server = HttpServer.create(new InetSocketAddress(PORT), 0);
        server.createContext("/", this::receive);
        server.setExecutor(Executors.newCachedThreadPool(Callscribe::daemon));
        server.start();
        try {
            HttpResponse<String> posted = post(recording, callId);
            String path = posted.headers().firstValue("Location").orElseThrow();
            String job = end(posted.body(), path);
            if (!field(job, "status").equals("completed")) {
                throw new CallFailed("The transcription is not completed: " + job);
            }
            return send(request(URI.create(API_URL).resolve(path + "/transcript?format=text"))).body();
        } finally {
            server.stop(0);
        }
    }

    /** Posts a recording. The call's id is the idempotency key, so that one call never becomes two jobs. */
    private HttpResponse<String> post(Path recording, String callId) throws CallFailed, IOException, InterruptedException {
        String boundary = UUID.randomUUID().toString();
        List<List<String>> fields = List.of(
                List.of("channels", "split"),
                List.of("channel_labels", "agent"),
                List.of("channel_labels", "customer"),
                List.of("external_id", callId),
                List.of("webhook_url", WEBHOOK_URL));
        ByteArrayOutputStream body = new ByteArrayOutputStream();
        for (List<String> field : fields) {
            body.writeBytes(utf8("--%s\r\nContent-Disposition: form-data; name=\"%s\"\r\n\r\n%s\r\n"
                    .formatted(boundary, field.get(0), field.get(1))));
        }
        body.writeBytes(utf8("--%s\r\nContent-Disposition: form-data; name=\"file\"; filename=\"%s\"\r\n\r\n"
                .formatted(boundary, recording.getFileName())));
        body.writeBytes(Files.readAllBytes(recording));
        body.writeBytes(utf8("\r\n--" + boundary + "--\r\n"));
        return send(request(URI.create(API_URL + "/v1/transcriptions"))
                .header("Content-Type", "multipart/form-data; boundary=" + boundary)
                .header("Idempotency-Key", URLEncoder.encode(callId, StandardCharsets.UTF_8)) // a header is in ASCII
                .POST(BodyPublishers.ofByteArray(body.toByteArray())));
    }

    /** Returns the job's JSON after its webhook has arrived, or immediately if an earlier run of this program posted it. */
    private String end(String job, String path) throws CallFailed, InterruptedException {
        while (Set.of("pending", "in_progress").contains(field(job, "status"))) {
            String event = events.poll(PATIENCE.toSeconds(), TimeUnit.SECONDS);
            if (event == null) {
                throw new CallFailed("No webhook arrived within " + PATIENCE.toMinutes() + " minutes.");
            }
            if (event.contains('"' + path + '"')) {
                job = event;
            }
        }
        return job;
    }

    /** Answers a webhook. It only stores the event, because the service expects an answer within 15 seconds. */
    private void receive(HttpExchange exchange) throws IOException {
        try (exchange) {
            byte[] body = exchange.getRequestBody().readAllBytes();
            boolean genuine = verify(WEBHOOK_SECRET, exchange, body, Instant.now());
            exchange.sendResponseHeaders(genuine ? 204 : 401, -1);
            exchange.close();
            if (genuine) { // only now, because the program may end as soon as it has the event
                events.add(new String(body, StandardCharsets.UTF_8));
            }
        }
    }

    /** Whether a webhook is genuine and fresh. {@code body} has the bytes as they were received. */
    private static boolean verify(String secret, HttpExchange exchange, byte[] body, Instant now) {
        String id = header(exchange, "webhook-id");
        String timestamp = header(exchange, "webhook-timestamp");
        if (!timestamp.matches("\\d{1,12}")
                || Math.abs(now.getEpochSecond() - Long.parseLong(timestamp)) > TOLERANCE_SECONDS) {
            return false;
        }
        byte[] expected = utf8("v1," + Base64.getEncoder().encodeToString(hmac(secret, id + "." + timestamp + ".", body)));
        boolean genuine = false;
        for (String given : header(exchange, "webhook-signature").split(" ")) {
            genuine |= MessageDigest.isEqual(expected, utf8(given));
        }
        return genuine;
    }

    private static byte[] hmac(String secret, String prefix, byte[] body) {
        try {
            Mac mac = Mac.getInstance("HmacSHA256");
            mac.init(new SecretKeySpec(Base64.getDecoder().decode(secret.replaceFirst("^whsec_", "")), "HmacSHA256"));
            mac.update(utf8(prefix));
            return mac.doFinal(body);
        } catch (GeneralSecurityException error) {
            throw new IllegalStateException(error); // every JDK has HMAC-SHA256
        }
    }

    /** Sends a request until the service has time for it. */
    private HttpResponse<String> send(HttpRequest.Builder request) throws CallFailed, InterruptedException {
        for (int tries = 0; tries < TRIES; tries++) {
            try {
                HttpResponse<String> answer = client.send(request.build(), BodyHandlers.ofString());
                if (answer.statusCode() < 300) {
                    return answer;
                }
                if (!BUSY.contains(answer.statusCode())) {
                    throw new CallFailed("The service answered " + answer.statusCode() + ": " + answer.body());
                }
                System.err.println("The service is busy (" + answer.statusCode() + ").");
                Thread.sleep(1000 * answer.headers().firstValueAsLong("Retry-After").orElse(5));
            } catch (IOException error) { // the idempotency key makes it safe to repeat the request
                System.err.println(API_URL + ": " + error);
                Thread.sleep(2000);
            }
        }
        throw new CallFailed("The service did not accept the request in " + TRIES + " tries.");
    }

    private static HttpRequest.Builder request(URI address) {
        HttpRequest.Builder request = HttpRequest.newBuilder(address).timeout(Duration.ofSeconds(90));
        return API_KEY.isEmpty() ? request : request.header("Authorization", "Bearer " + API_KEY);
    }

    /** Returns the first string field of this name in a JSON text. */
    private static String field(String json, String name) {
        Matcher found = Pattern.compile("\"" + name + "\"\\s*:\\s*\"([^\"]*)\"").matcher(json);
        return found.find() ? found.group(1) : "";
    }

    private static String header(HttpExchange exchange, String name) {
        String value = exchange.getRequestHeaders().getFirst(name);
        return value == null ? "" : value;
    }

    private static byte[] utf8(String text) {
        return text.getBytes(StandardCharsets.UTF_8);
    }

    private static Thread daemon(Runnable work) {
        Thread thread = new Thread(work);
        thread.setDaemon(true);
        return thread;
    }

    private static String setting(String name, String fallback) {
        String value = System.getenv(name);
        return value == null || value.isEmpty() ? fallback : value;
    }
}
