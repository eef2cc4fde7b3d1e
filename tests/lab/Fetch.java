import java.net.URI;
import java.net.http.HttpClient;
import java.net.http.HttpRequest;
import java.net.http.HttpResponse;

/** Prints what a URL holds: `java Fetch.java HttpClient|HttpsURLConnection URL`. */
public class Fetch {
    public static void main(String[] arguments) throws Exception {
        URI uri = URI.create(arguments[1]);
        if (arguments[0].equals("HttpClient")) {
            HttpRequest request = HttpRequest.newBuilder(uri).build();
            System.out.print(HttpClient.newHttpClient().send(request, HttpResponse.BodyHandlers.ofString()).body());
        } else {
            System.out.write(uri.toURL().openStream().readAllBytes());
            System.out.flush();
        }
    }
}
